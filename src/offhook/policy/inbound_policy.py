"""The inbound policy: which calls are answered, and how much calls may cost.

What a call costs is an estimate: the time for which its agent was connected, by the configured
prices. Limits of a day count the last 24 hours, on a clock that neither summer time nor a change of
the wall clock moves. A limit of a day refuses further calls, and never ends one that goes on.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, unique
from types import MappingProxyType
from typing import Final

from offhook.clock import Clock
from offhook.events.types import (
    AgentConnected,
    CallEnded,
    CallerLeft,
    CallEvent,
    CallReleased,
    CameBy,
)
from offhook.twilio.callers import Answer, Refused, Verdict, is_withheld, verdict_of

HOUR_S: Final = 3600.0
DAY_S: Final = 24 * HOUR_S

KEEP_S: Final = 10.0
"""Seconds after which what calls have used is kept again, at the next event of any of them."""

USES_MAX: Final = 50_000
"""Calls of a day that are known one by one. Beyond, the oldest count for the limit of the day only,
by the minute."""

LONGEST_S: Final = 7 * DAY_S


@unique
class InboundRefusal(Enum):
    """Reason why a call is not answered: its slug, and its description."""

    BLOCKED = "blocked", "the caller's number is on the block list"
    ANONYMOUS = "anonymous", "the caller withholds the number"
    STIR = "stir", "the caller's number is not attested as inbound.stir demands"
    CALLS_PER_HOUR = "calls_per_hour", "the caller has used up inbound.calls_per_hour"
    CALLER_DAY = "caller_day", "the caller has used up the limit of a day"
    DAY = "day", "the calls of a day have used up their limit"

    def __init__(self, slug: str, words: str) -> None:
        self.slug = slug
        self.words = words


@dataclass(frozen=True, slots=True)
class UseLimit:
    """Limits of what calls use: of money, in millionths, and of minutes. None: no limit."""

    micros: float | None = None
    minutes: float | None = None

    def is_used_up(self, used: "Used") -> bool:
        """Return whether no further call fits."""
        return (self.micros is not None and used.micros >= self.micros) or (
            self.minutes is not None and used.ms >= self.minutes * 60_000
        )

    @property
    def is_set(self) -> bool:
        """True if there is a limit."""
        return self.micros is not None or self.minutes is not None


@dataclass(frozen=True, slots=True)
class InboundRules:
    """Rules of `inbound` in offhook.yaml; without any, every call is answered.

    Attributes:
        blocked: Numbers that are not answered.
        blocked_prefixes: Beginnings of such numbers.
        blocked_answer: What they get.
        anonymous: What callers get who withhold their number.
        stir: What callers get by the verdict on their number; the agent for other verdicts.
        calls_per_hour: Calls of one number within an hour.
        call: Limit of a call.
        caller_day: Limit of one number within 24 hours.
        day: Limit of all calls within 24 hours.
        over_limit: What callers get beyond a limit.
    """

    blocked: frozenset[str] = frozenset()
    blocked_prefixes: tuple[str, ...] = ()
    blocked_answer: Refused = "reject"
    anonymous: Answer = "answer"
    stir: Mapping[Verdict, Answer] = field(default_factory=lambda: MappingProxyType({}))
    calls_per_hour: int | None = None
    call: UseLimit = UseLimit()
    caller_day: UseLimit = UseLimit()
    day: UseLimit = UseLimit()
    over_limit: Refused = "busy"
    say: str = ""
    """Words for callers whose answer is `say`."""

    @property
    def counts(self) -> bool:
        """True if calls must be counted."""
        return self.calls_per_hour is not None or self.caller_day.is_set or self.day.is_set


@dataclass(slots=True)
class CallUse:
    """Use of one call so far.

    Attributes:
        call: Tag of its CallSid.
        caller: Tag of the caller's number; all callers who withhold it have the same.
        at: When it was admitted, in seconds of the server's clock.
        rate: What its time costs by (rate_of).
        ms: Milliseconds for which its agent was connected.
    """

    call: str
    caller: str
    at: float
    rate: str
    ms: int = 0


@dataclass(slots=True)
class Used:
    """Use of several calls together."""

    ms: int = 0
    micros: int = 0


@dataclass(slots=True)
class _Minute:
    """Use of calls of about one minute that are not known one by one."""

    at: float
    used: Used


class _CallerUse:
    """Calls of one number within a day, oldest first, and what they have used."""

    __slots__ = ("calls", "used")

    def __init__(self) -> None:
        self.calls: Final[list[CallUse]] = []
        self.used: Final = Used()


BROWSER_RATE: Final = "browser "
"""Beginning of the rates of calls from browsers, which Twilio has no part in."""


def rate_of(tier: str, by: CameBy) -> str:
    """Return the rate of a call: the tier of Deepgram's prices, and whether Twilio is paid, too."""
    return BROWSER_RATE + tier if by == "browser" else tier


def tag_of(text: str) -> str:
    """Return the tag of a CallSid or a number: 64 bits of its hash."""
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:16]


def _forget(uses: Sequence[CallUse], now: float) -> None:
    """Keep nothing for the next run."""


class InboundPolicy:
    """The inbound policy of one server, with what the calls of the last day have used.

    A subscriber of events. `cost` returns what so many milliseconds cost at a rate, in millionths.
    `earlier` are the calls of earlier runs, and `keep` is called with those that have changed, and
    the time: neither may wait.
    """

    def __init__(
        self,
        rules: InboundRules,
        clock: Clock,
        cost: Callable[[int, str], int],
        *,
        earlier: Iterable[CallUse] = (),
        keep: Callable[[Sequence[CallUse], float], None] = _forget,
    ) -> None:
        self.rules = rules
        """Rules for the next call."""
        self._clock = clock
        self._cost = cost
        self._keep = keep
        self._uses: dict[str, CallUse] = {}
        """Calls of the last day by their tag, oldest first."""
        self._callers: dict[str, _CallerUse] = {}
        self._day = Used()
        self._folded: deque[_Minute] = deque()
        """Use of the day's calls that are not in `_uses` any more, oldest first."""
        self._running: dict[str, float] = {}
        """Calls whose agent is connected, by tag: the time until which `ms` counts."""
        self._kept_at = clock.now()
        for use in sorted(earlier, key=lambda use: use.at):
            self._add(use)

    # --- before a call -------------------------------------------------------------------------

    def refusal(
        self, call_sid: str, from_: str, stir_verstat: str | None
    ) -> tuple[InboundRefusal, Refused] | None:
        """Return why a call is not answered, and what its caller gets; None: it is answered.

        A call that was counted before, perhaps by an earlier run, is within its limits.
        """
        rules = self.rules
        if from_ in rules.blocked or from_.startswith(rules.blocked_prefixes):
            return InboundRefusal.BLOCKED, rules.blocked_answer
        if rules.anonymous != "answer" and is_withheld(from_):
            return InboundRefusal.ANONYMOUS, rules.anonymous
        answer = rules.stir.get(verdict_of(stir_verstat), "answer") if rules.stir else "answer"
        if answer != "answer":
            return InboundRefusal.STIR, answer
        if tag_of(call_sid) in self._uses:
            return None
        used_up = self.used_up(from_)
        return None if used_up is None else (used_up, rules.over_limit)

    def used_up(self, from_: str | None) -> InboundRefusal | None:
        """Return the limit that has no room for a further call; None: all have.

        `from_` None: a stream that tells no number, for which only the limit of a day counts.
        """
        rules, now = self.rules, self._clock.now()
        if not rules.counts:
            return None
        self._settle(now)
        self._expire(now)
        if rules.day.is_used_up(self._day):
            return InboundRefusal.DAY
        caller = None if from_ is None else self._callers.get(_caller_tag(from_))
        if caller is None:
            return None
        if rules.caller_day.is_used_up(caller.used):
            return InboundRefusal.CALLER_DAY
        if rules.calls_per_hour is not None:
            lately = sum(use.at > now - HOUR_S for use in caller.calls)
            if lately >= rules.calls_per_hour:
                return InboundRefusal.CALLS_PER_HOUR
        return None

    def admit(self, call_sid: str, from_: str | None, rate: str) -> None:
        """Count a call that is answered, once. `from_` None as in `used_up`."""
        call = tag_of(call_sid)
        if self.rules.counts and call not in self._uses:
            caller = tag_of(call_sid) if from_ is None else _caller_tag(from_)
            use = CallUse(call, caller, self._clock.now(), rate)
            self._add(use)
            self._keep((use,), use.at)

    def learn(self, uses: Iterable[CallUse]) -> None:
        """Count what calls of other processes of this server have used meanwhile."""
        day_ago = self._clock.now() - DAY_S
        for use in uses:
            known = self._uses.get(use.call)
            # Here is known better how long a call that goes on here has lasted.
            if known is not None and use.call not in self._running and use.ms > known.ms:
                before, known_ms = self._cost(known.ms, known.rate), known.ms
                known.ms = use.ms
                self._change(known, use.ms - known_ms, self._cost(use.ms, known.rate) - before)
            elif known is None and use.at > (self._folded[-1].at + 60 if self._folded else day_ago):
                self._add(use)

    def call_limit_s(self, rate: str) -> float | None:
        """Return for how many seconds the agent of one call may be connected; None: no limit."""
        limit = self.rules.call
        limits = [] if limit.minutes is None else [limit.minutes * 60]
        if limit.micros is not None:
            fits, over = 0, round(LONGEST_S)
            if self._cost(over * 1000, rate) > limit.micros:
                # Prices have steps (a begun minute), so the time is searched, not computed.
                while over - fits > 1:
                    middle = (fits + over) // 2
                    if self._cost(middle * 1000, rate) <= limit.micros:
                        fits = middle
                    else:
                        over = middle
                limits.append(fits)
        return min(limits, default=None)

    # --- during a call -------------------------------------------------------------------------

    def __call__(self, happened: CallEvent) -> None:
        """Measure for how long the agent of a counted call is connected."""
        if not self._uses:
            return
        match happened.event:
            case AgentConnected():
                call = tag_of(happened.call_sid)
                if call in self._uses:
                    self._running.setdefault(call, self._clock.now())
            case CallerLeft() | CallEnded() | CallReleased():
                call = tag_of(happened.call_sid)
                if call in self._running:
                    now = self._clock.now()
                    self._count_up(call, now)
                    del self._running[call]
                    self._keep((self._uses[call],), now)
        if self._running and self._clock.now() >= self._kept_at + KEEP_S:
            self._settle(self._clock.now())

    # --- inside --------------------------------------------------------------------------------

    def _settle(self, now: float) -> None:
        """Count what the calls that go on have used by now."""
        for call in self._running:
            self._count_up(call, now)
        if self._running and now >= self._kept_at + KEEP_S:
            self._kept_at = now
            self._keep([self._uses[call] for call in self._running], now)

    def _count_up(self, call: str, now: float) -> None:
        use, since = self._uses[call], self._running[call]
        ms = max(0, round((now - since) * 1000))
        self._running[call] = now
        # By the difference of two sums: each part by itself would be rounded.
        before = self._cost(use.ms, use.rate)
        use.ms += ms
        self._change(use, ms, self._cost(use.ms, use.rate) - before)

    def _change(self, use: CallUse, ms: int, micros: int) -> None:
        for used in (self._day, self._callers[use.caller].used):
            used.ms += ms
            used.micros += micros

    def _add(self, use: CallUse) -> None:
        self._uses[use.call] = use
        self._callers.setdefault(use.caller, _CallerUse()).calls.append(use)
        self._change(use, use.ms, self._cost(use.ms, use.rate))

    def _expire(self, now: float) -> None:
        """Forget the calls of more than a day ago, and fold the oldest when there are too many."""
        while self._folded and self._folded[0].at <= now - DAY_S:
            used = self._folded.popleft().used
            self._day.ms -= used.ms
            self._day.micros -= used.micros
        while self._uses:
            use = next(iter(self._uses.values()))
            is_old = use.at <= now - DAY_S
            # A call that goes on stays, and those behind it: it ends, and they are younger.
            if use.call in self._running or not (is_old or len(self._uses) > USES_MAX):
                return
            self._remove(use)
            if not is_old:
                self._fold(use)

    def _remove(self, use: CallUse) -> None:
        del self._uses[use.call]
        caller = self._callers[use.caller]
        self._change(use, -use.ms, -self._cost(use.ms, use.rate))
        del caller.calls[0]  # oldest first, as in `_uses`
        if not caller.calls:
            del self._callers[use.caller]

    def _fold(self, use: CallUse) -> None:
        if not self._folded or use.at >= self._folded[-1].at + 60:
            self._folded.append(_Minute(use.at, Used()))
        micros = self._cost(use.ms, use.rate)
        for used in (self._folded[-1].used, self._day):
            used.ms += use.ms
            used.micros += micros


def _caller_tag(number: str) -> str:
    return tag_of("withheld" if is_withheld(number) else number)
