"""Reasons why a number was not dialled or texted, in the words of an agent."""

from collections.abc import Mapping
from typing import Final

from offhook.call.phrases import Phrases
from offhook.policy.dial_policy import DialRefusal
from offhook.twilio.errors import REASONS, TwilioRefusedError

ENGLISH: Final[Mapping[str, str]] = {
    refusal.slug: refusal.words for refusal in DialRefusal
} | REASONS
"""Every reason by its key in `phrases.refusals`, which an agent of another language translates."""


LEFT_OUT: Final = "default"
"""Key in `phrases.refusals` of the words for every reason that is left out there."""


def refusal_words(phrases: Phrases, refused: DialRefusal | TwilioRefusedError) -> str:
    """Return the reason of a refusal in the agent's words; in English where it has none.

    An agent may also have words for a code of Twilio's that Offhook does not know.
    """
    if isinstance(refused, DialRefusal):
        keys: tuple[str, ...] = (refused.slug, LEFT_OUT)
    else:
        keys = (str(refused.code), refused.reason, LEFT_OUT)
    return next((phrases.refusals[key] for key in keys if key in phrases.refusals), refused.words)
