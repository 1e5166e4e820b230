"""Choice of the recognisers for callers, by what this machine has."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from offhook.testing.simulator.speech import installed
from offhook.testing.simulator.speech.answer_delays import AnswerDelays
from offhook.testing.simulator.speech.engines import SpeechToText
from offhook.testing.simulator.speech.vocabulary import Vocabulary


@asynccontextmanager
async def listening(
    vocabulary: Vocabulary | None, delays: AnswerDelays | None = None
) -> AsyncIterator[Callable[[], SpeechToText]]:
    """Run recognisers until the end of the block, and yield what makes a SpeechToText of a caller.

    With a vocabulary, PocketSphinx recognises its sentences, and Whisper what PocketSphinx does not
    understand, each if it is installed; None is for free speech, which Whisper recognises alone.
    `delays` are told how late their answers are.
    Raises UserError (E-EAR-...) if the only one does not start, or a word is unknown.
    """
    async with AsyncExitStack() as stack:
        sphinx = vocabulary is not None and installed.knows_vocabularies()
        free = installed.missing_free_speech() is None
        if sphinx and vocabulary is not None:
            from offhook.testing.simulator.speech.speech_to_text import recognising

            first = await stack.enter_async_context(recognising(vocabulary, delays=delays))
            if not free:
                yield first.speech_to_text
                return
        from offhook.testing.simulator.speech.free_speech import (
            BackedSpeechToText,
            recognising_freely,
        )

        second = await stack.enter_async_context(
            recognising_freely(at_once=not sphinx, delays=delays)
        )
        if not sphinx:
            yield second.speech_to_text
        else:
            yield lambda: BackedSpeechToText(first.speech_to_text(), second.speech_to_text())
