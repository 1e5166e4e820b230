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


def refusal_words(phrases: Phrases, refused: DialRefusal | TwilioRefusedError) -> str:
    """Return the reason of a refusal in the agent's words; in English where it has none.

    An agent may also have words for a code of Twilio's that Offhook does not know.
    """
    if isinstance(refused, DialRefusal):
        return phrases.refusals.get(refused.slug, refused.words)
    known = phrases.refusals.get(refused.reason, refused.words)
    return phrases.refusals.get(str(refused.code), known)
