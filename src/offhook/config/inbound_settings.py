"""The content of `inbound:` in offhook.yaml: which calls are answered, and what they may cost."""

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import BeforeValidator, Field

from offhook import yamlfile
from offhook.config.parts import Part, Text, phone_number
from offhook.twilio.callers import Answer, Refused

if TYPE_CHECKING:
    from offhook.policy.inbound_policy import InboundRules

_PREFIX: Final = re.compile(r"\+[0-9]{1,14}\*")


def _blocked(value: Any) -> Any:
    if isinstance(value, str) and _PREFIX.fullmatch(value):
        return value
    if isinstance(value, str) and "*" in value:
        raise yamlfile.refuse(
            "This is not the beginning of a number in international form.",
            'Write +, digits and one * at the end, in quotes: "+1900*".',
        )
    return phone_number(value)


class StirSettings(Part):
    """The answer to a caller by the STIR/SHAKEN verdict on the number (twilio.md §4.1)."""

    a: Answer = "answer"
    """The carrier knows the caller, and the number is theirs."""

    b: Answer = "answer"
    """The carrier knows the caller, and not whether the number is theirs."""

    c: Answer = "answer"
    """The carrier knows only where the call entered its network, as from abroad."""

    failed: Answer = "answer"
    """The attestation does not hold: it may be forged."""

    none: Answer = "answer"
    """Twilio could not check an attestation."""

    absent: Answer = "answer"
    """Twilio says nothing, as of most calls from outside the USA."""


class UseSettings(Part):
    """Limits of what calls may use: of money, or of minutes. None: no limit."""

    per_call: float | None = Field(default=None, gt=0)
    """The limit of one call, which ends with a goodbye."""

    per_caller_day: float | None = Field(default=None, gt=0)
    """The limit of one number's calls within 24 hours; beyond, it is not answered."""

    per_day: float | None = Field(default=None, gt=0)
    """The limit of all calls within 24 hours; beyond, nobody is answered."""

    @property
    def is_set(self) -> bool:
        """True if there is a limit."""
        return any(each is not None for each in self.model_dump().values())


class InboundSettings(Part):
    """The content of `inbound:` in offhook.yaml: the rules of inbound_policy."""

    block: tuple[Annotated[str, BeforeValidator(_blocked)], ...] = ()
    """Numbers that are not answered; with a * at the end, all that begin so."""

    blocked: Refused = "reject"
    """The answer to them: reject (not in service), busy (the busy tone) or say."""

    anonymous: Answer = "answer"
    """The answer to callers who withhold their number: answer, reject, busy or say."""

    stir: StirSettings = StirSettings()

    calls_per_hour: int | None = Field(default=None, ge=1)
    """Calls of one number within an hour; those who withhold theirs count as one number."""

    spend: UseSettings = UseSettings()
    """Estimated cost, in the currency of `records.prices`."""

    minutes: UseSettings = UseSettings()
    """Minutes for which agents are connected."""

    over_limit: Refused = "busy"
    """The answer beyond a limit: busy, reject or say."""

    say: Text = "We cannot take your call at the moment. Goodbye."
    """The words of `say`, in the agent's language and voice. They cost a minute."""

    @property
    def rules(self) -> "InboundRules":
        """The rules of inbound_policy."""
        from offhook.policy.inbound_policy import InboundRules, UseLimit

        spend, minutes = self.spend.model_dump(), self.minutes.model_dump()

        def limit(name: str) -> UseLimit:
            money = spend[name]
            return UseLimit(None if money is None else money * 1_000_000, minutes[name])

        stir: dict[Any, Any] = self.stir.model_dump()
        return InboundRules(
            blocked=frozenset(one for one in self.block if not one.endswith("*")),
            blocked_prefixes=tuple(one[:-1] for one in self.block if one.endswith("*")),
            blocked_answer=self.blocked,
            anonymous=self.anonymous,
            stir=MappingProxyType({v: each for v, each in stir.items() if each != "answer"}),
            calls_per_hour=self.calls_per_hour,
            call=limit("per_call"),
            caller_day=limit("per_caller_day"),
            day=limit("per_day"),
            over_limit=self.over_limit,
            say=self.say,
        )
