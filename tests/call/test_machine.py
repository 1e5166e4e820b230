"""Anything that may happen to a call, in any order and at any time, by Hypothesis.

The world here is fair only in what the session warrants: nothing of the agent's comes in while no
agent leg is dialled, and no stream before its `start`. All else is chance: both vendors' messages
in any order, losses, stalls, clocks that jump and deadlines that are served late or never.
"""

import dataclasses
import math
from collections import deque
from collections.abc import Callable
from typing import Final

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from tests.call.playbook import (
    APPLIED,
    AUDIO_DONE,
    BARGE_IN,
    CONNECTED,
    START,
    STOP,
    WELCOME,
    Contract,
    agent,
    caller,
    key,
    mark,
)
from tests.forms import sized

from offhook.audio import FRAME_BYTES, SILENCE, TONE, milliseconds
from offhook.call import requests
from offhook.call.agent_link import HELD_AGENT_BYTES, HELD_CALLER_BYTES
from offhook.call.call import Call
from offhook.call.call_settings import CallSettings
from offhook.call.commands import (
    AwaitCaller,
    Command,
    End,
    HangUpAgent,
    LeaveStream,
    Note,
    Piece,
    Play,
    SendAudio,
    TellAgent,
)
from offhook.call.ending import Slug
from offhook.call.farewell import FAREWELL_MAX_S
from offhook.call.handoff_actions import Dial, SendDigits
from offhook.call.inputs import (
    AgentLegRefused,
    AgentLegUnreachable,
    CallAnnounced,
    CallBroke,
    CallerReturning,
    CallOver,
    GarbageReceived,
    HandoffBegun,
    HandoffDone,
    Input,
    LateTurn,
    LegLost,
    LegRecovered,
    LegStalled,
    NobodyReached,
    OperatorLost,
    RequestCancelled,
    Requested,
    ServerStopped,
    SpareLost,
    SpareReady,
    SpareWelcomed,
    ToolBegan,
    ToolFinished,
)
from offhook.call.keypad import HangUpByKey, SayByKey, TransferByKey
from offhook.call.leg_health import FAULTS_MAX
from offhook.call.phases import Phase
from offhook.call.playback import KEPT_MAX
from offhook.call.rollover import QUIET_S, SESSION_S
from offhook.call.turns import FENCE_QUIET_S
from offhook.deepgram import messages as deepgram
from offhook.events.types import (
    AgentAnnounced,
    AgentHeard,
    AgentLost,
    AgentMuted,
    AgentSaid,
    AudioDropped,
    CallEnded,
    FunctionOutcome,
    HandoffOutcome,
    KeyPressed,
    Leg,
)
from offhook.twilio import messages as twilio

PLANS: Final = st.builds(
    CallSettings,
    max_s=st.sampled_from([5.0, 60.0, 1800.0]),
    silence_s=st.sampled_from([0.0, 4.0, 60.0]),
    answer_s=st.sampled_from([0.0, 0.3, 8.0]),
    key_s=st.sampled_from([0.5, 2.0]),
    actions=st.dictionaries(
        st.sampled_from("01789*#"),
        st.sampled_from(
            [
                TransferByKey("desk"),
                HangUpByKey(),
                HangUpByKey("Bye."),
                HangUpByKey("Goodbye."),
                SayByKey("Hello."),
            ]
        ),
        max_size=4,
    ),
    forces_turns=st.booleans(),
)
SIZES: Final = st.integers(0, 5000) | st.sampled_from([1, 159, 160, 161, 1600, 1760, 100_000])
LEGS: Final[st.SearchStrategy[Leg]] = st.sampled_from(["caller", "agent"])
CODES: Final = st.sampled_from(
    ["", "INVALID_SETTINGS", "FAILED_TO_THINK", "INTERNAL_SERVER_ERROR", "SERVER_GOING_AWAY"]
)
TEXTS: Final = st.sampled_from(
    [
        *("", "Goodbye.", "One two three."),
        *(CallSettings().phrases.time_up, CallSettings().phrases.one_moment),
    ]
)
SECONDS: Final = st.sampled_from([0.0, 0.001, 0.02, 0.1, 0.3, 0.5, 1.0])
IDS: Final = st.sampled_from(["1", "2", "3"])
FROM_AGENT: Final[st.SearchStrategy[Input]] = st.one_of(
    st.just(WELCOME),
    st.just(APPLIED),
    st.just(BARGE_IN),
    st.just(AUDIO_DONE),
    st.builds(agent, TEXTS),
    st.builds(caller, TEXTS),
    st.builds(deepgram.ConversationText, st.just("system"), TEXTS),
    st.builds(deepgram.Warning, st.just("INJECT_AGENT_MESSAGE_DURING_USER_SPEECH"), TEXTS),
    st.builds(deepgram.InjectionRefused, TEXTS),
    st.builds(deepgram.LatencyReport, st.none() | st.floats()),
    st.builds(deepgram.FrustrationDetected, st.integers(), st.booleans()),
    st.builds(
        lambda ids: deepgram.FunctionCallRequest(
            [deepgram.FunctionCall(each, "weather") for each in ids]
        ),
        st.lists(IDS, min_size=1, max_size=3),
    ),
    st.builds(
        lambda ids, signature: deepgram.FunctionCallRequest(
            [
                deepgram.FunctionCall(
                    each, "pay", "{}", client_side=ours, thought_signature=signature
                )
                for each, ours in ids
            ]
        ),
        st.lists(st.tuples(IDS, st.booleans()), max_size=3),
        st.sampled_from([None, "", "c2lnbg=="]),
    ),
    st.builds(lambda each: deepgram.FunctionCallCancelled([deepgram.CancelledFunction(each)]), IDS),
    st.just(deepgram.PromptUpdated()),
    st.just(deepgram.ListenUpdated()),
    st.just(deepgram.Warning("UPDATE_LISTEN_UNSUPPORTED_FIELDS_CHANGED", "")),
    st.just(deepgram.History("user", "Hello.")),
    st.just(deepgram.UnknownAgentMessage("Novelty")),
)


REQUESTS: Final[st.SearchStrategy[requests.CallRequest]] = st.one_of(
    st.builds(requests.HangUp, st.sampled_from(["agent", "operator"]), st.just("Goodbye.")),
    st.just(requests.HangUp("agent")),
    st.builds(
        requests.Say,
        st.just("One two three."),
        st.sampled_from(["default", "queue", "interrupt"]),
    ),
    st.just(requests.Tell("Goodbye.")),
    st.just(requests.Update(deepgram.UpdatePrompt("Be brief."))),
    st.just(requests.Update(deepgram.UpdateListen({}))),
    st.builds(requests.Mute, st.booleans()),
    st.builds(
        requests.AskDigits,
        st.sampled_from(["", "Goodbye."]),
        st.integers(1, 4),
        st.sampled_from([1.0, 30.0]),
    ),
    st.just(requests.Leave(Dial("desk", "+12025550123"), "One two three.")),
    st.just(requests.Leave(SendDigits("12"))),
    st.just(requests.Leave(Dial("desk", "+12025550123"), by="operator")),
    st.builds(requests.TakeOver, st.sampled_from(["Ann", "Bob"])),
    st.builds(requests.TakeOver, st.sampled_from(["Ann", "Bob"])),
    st.builds(requests.HandBack, st.sampled_from(["", "They want two."])),
    st.builds(requests.SwitchAgent, st.just("billing"), PLANS, st.sampled_from(["", "Goodbye."])),
)
OUTCOMES: Final[st.SearchStrategy[FunctionOutcome]] = st.sampled_from(
    ["answered", "failed", "unknown"]
)
LAST: Final[st.SearchStrategy[list[Input]]] = st.one_of(
    st.sampled_from(
        [
            [STOP],
            [LegLost("caller", "1006")],
            [LegLost("caller", "1009", oversized=True)],
            [LegLost("agent", "1008", code=1008)],
            [AgentLegRefused(429)],
            [AgentLegUnreachable("no such host")],
            [CallOver()],
            [ServerStopped()],
            [NobodyReached(Slug.MACHINE_ANSWERED, "machine_start")],
            [CallBroke("KeyError"), LegLost("caller", "1011")],
            [GarbageReceived("agent", "bad JSON")] * (FAULTS_MAX + 1),
        ]
    ),
    st.builds(lambda code: [deepgram.Error(code, "")], CODES),
    st.builds(lambda code: [deepgram.Error(code, ""), LegLost("agent", "1005")], CODES),
)


class Conversation(RuleBasedStateMachine):
    """One call, and a count of every byte."""

    @initialize(
        plan=PLANS,
        now=st.just(0.0) | st.floats(0, 1e6),
        where=st.sampled_from(
            ["announced", "settling", "talking", "talking", "rolling over", "away", "ended"]
        ),
        asks_after=st.booleans(),
    )
    def begin(self, plan: CallSettings, now: float, where: str, asks_after: bool = False) -> None:
        self.now = now
        self.asks_after = asks_after
        self.commands: list[Command] = []
        if where == "rolling over":  # it needs two seconds in which nobody is asked anything
            plan = dataclasses.replace(plan, silence_s=0.0)
        self.call = Call(
            plan,
            now,
            self.commands.append,
            session_s=1.0 if where == "rolling over" else SESSION_S,
            spread=0.5,
            asks_after=asks_after,
        )
        self.contract = Contract()
        self.marks: list[str] = []
        self.muted = False
        self.epoch = 0
        self.sent_in_epoch = 0
        self.told_ms = 0
        self.said_count = 0
        self.reported_ms = 0
        self.announced: dict[int, list[str]] = {}
        self.late = 0
        self.endings = 0
        self.asks = 0
        self.quiet_since = -math.inf
        # Agent audio that came in, was too much to hold, came behind a fence, or was given up.
        self.received = self.too_much = self.all_late = self.given_up = 0
        # What the caller heard of nobody, and whether the agent has said that it takes a moment.
        self.held = 0
        self.has_kept = False
        # Caller audio that came in while the agent settled, and what must be left of it.
        self.caller_audio = b""
        self.caller_held: deque[bytes] = deque()
        # By chance alone too few calls would ever get there.
        if where != "announced":
            self.receive(START)
        if where in ("talking", "rolling over", "away"):
            self.receive(WELCOME)
            self.receive(APPLIED)
        if where == "rolling over":
            self.time_passes(1.1 + QUIET_S)
            assert self.contract.has_spare
        if where == "away":
            self.something_is_asked(requests.Leave(SendDigits("12")))
            self.time_passes(FAREWELL_MAX_S)
        if where == "ended":
            self.receive(STOP)

    # --- what happens --------------------------------------------------------------------------

    @precondition(lambda self: self.call.phase is Phase.WAITING)
    @rule(ms=st.sampled_from([0, 9_999, 10_000]))
    def the_webhook_is_asked(self, ms: int) -> None:
        self.receive(CallAnnounced(ms))

    @rule()
    def the_stream_starts(self) -> None:
        self.receive(START)

    @precondition(lambda self: self.contract.started)
    @rule(size=st.just(FRAME_BYTES) | st.integers(0, 400) | st.just(20_000))
    def the_caller_sends_audio(self, size: int) -> None:
        settling = self.call.phase is Phase.SETTLING
        frame = bytes([len(self.caller_audio) % 251]) * size
        forwarded = self.call.hear(frame, self.now)
        if self.contract.is_masked:
            frame = SILENCE * size
        talking = self.call.phase in (Phase.TALKING, Phase.BARGE_IN, Phase.CLOSING)
        # The leg may be lost during last words, after which none may be needed.
        assert forwarded == (frame if talking and self.contract.applied else None)
        if settling:
            self.caller_audio += frame
            self.caller_held.append(frame)
            while sum(map(len, self.caller_held)) > HELD_CALLER_BYTES:
                self.caller_held.popleft()

    @precondition(lambda self: self.contract.started)
    @rule(digit=st.sampled_from("01789#*"))
    def the_caller_presses_a_key(self, digit: str) -> None:
        secret, over = self.contract.is_masked, self.contract.over
        commands = self.receive(key(digit))
        told = [each for each in commands if isinstance(each, Note)]
        assert any(isinstance(each.event, KeyPressed) for each in told) == (not secret and not over)
        if secret:
            assert not any(isinstance(each, TellAgent) for each in commands)

    @precondition(lambda self: self.contract.started)
    @rule(digits=st.sampled_from(["9*", "0*9*", "1*#", "09#8#", "**", "9#9#"]))
    def the_caller_presses_many_keys(self, digits: str) -> None:
        for digit in digits:
            self.the_caller_presses_a_key(digit)

    @precondition(lambda self: self.call.keys.is_secret)
    @rule(digits=st.sampled_from(["12", "123#", "#"]))
    def the_caller_enters_a_secret(self, digits: str) -> None:
        for digit in digits:
            self.the_caller_presses_a_key(digit)

    @rule(ask=st.integers(1, 20))
    def nobody_waits_for_it_any_more(self, ask: int) -> None:
        self.receive(RequestCancelled(ask))

    @precondition(lambda self: self.contract.started)
    @rule(data=st.data())
    def twilio_echoes_some_mark_of_ours(self, data: st.DataObject) -> None:
        if self.marks:
            recent = self.marks[-20:]
            self.echo(data.draw(st.sampled_from(recent)))

    @precondition(lambda self: self.contract.started)
    @rule(name=st.sampled_from(["", "0:", "0:160", "1:160", "7", "0:-1", "-1:160", "x:y"]))
    def twilio_echoes_a_mark_of_nobodys(self, name: str) -> None:
        self.echo(name)

    @precondition(lambda self: self.contract.started)
    @rule()
    def twilio_echoes_every_mark(self) -> None:
        for name in self.marks[-100:]:
            self.echo(name)

    @precondition(lambda self: self.contract.started)
    @rule(message=st.sampled_from([CONNECTED, twilio.UnknownTwilioMessage("novelty")]))
    def twilio_says_something_odd(self, message: Input) -> None:
        self.receive(message)

    @precondition(lambda self: self.contract.dialled)
    @rule(message=FROM_AGENT)
    def the_agent_says_something(self, message: Input) -> None:
        self.receive(message)

    @rule(request=REQUESTS)
    def something_is_asked(self, request: requests.CallRequest) -> None:
        self.asks += 1
        self.receive(Requested(self.asks, request))

    @precondition(lambda self: self.call.is_taken)
    @rule(frames=st.integers(1, 40))
    def the_operator_speaks(self, frames: int) -> None:
        for _ in range(frames):
            pieces = self.call.relay(bytes(FRAME_BYTES), self.now)
            if pieces:
                assert self.muted
                self.contract.play(pieces)
                self.play(pieces)
                self.held += FRAME_BYTES
        self.obey(self.commanded())

    @rule()
    def the_operator_is_lost(self) -> None:
        self.receive(OperatorLost())

    @precondition(lambda self: self.call.phase is Phase.AWAY)
    @rule()
    def a_handoff_has_begun(self) -> None:
        self.receive(HandoffBegun())

    @precondition(lambda self: self.call.phase is Phase.AWAY)
    @rule(
        outcome=st.sampled_from(["busy", "no-answer", "reached", "declined", "hung-up"]),
        back=st.booleans(),
    )
    def a_handoff_is_done(self, outcome: HandoffOutcome, back: bool) -> None:
        self.receive(HandoffDone(outcome))
        if back and self.call.phase is Phase.AWAY:
            self.receive(START)

    @rule(call_id=IDS)
    def a_function_begins_that_cannot_be_taken_back(self, call_id: str) -> None:
        self.receive(ToolBegan(call_id))

    @rule(call_id=IDS, outcome=OUTCOMES)
    def a_function_is_done(self, call_id: str, outcome: FunctionOutcome) -> None:
        self.receive(ToolFinished(call_id, "sunny", outcome))

    @precondition(lambda self: self.contract.dialled)
    @rule(size=SIZES)
    def the_agent_sends_audio(self, size: int) -> None:
        self.speak(bytes(size))

    @precondition(lambda self: self.contract.dialled)
    @rule(sizes=st.lists(st.integers(1, 2000), max_size=5), done=st.booleans())
    def the_agent_answers(self, sizes: list[int], done: bool) -> None:
        self.receive(caller("Hello?"))
        self.receive(agent("One two three."))
        for size in sizes:
            self.speak(bytes(size))
        if done:
            self.receive(AUDIO_DONE)

    @precondition(lambda self: self.contract.dialled)
    @rule(size=SIZES, late=st.lists(st.integers(1, 2000), max_size=3))
    def the_caller_barges_in(self, size: int, late: list[int]) -> None:
        self.receive(agent("One two three."))
        self.speak(bytes(size))
        self.receive(BARGE_IN)
        for size_ in late:
            self.speak(bytes(size_))

    @precondition(lambda self: self.contract.dialled)
    @rule(sizes=st.lists(st.sampled_from([160, 500, 30_000]), max_size=3))
    def the_agent_says_that_it_takes_a_moment(self, sizes: list[int]) -> None:
        self.receive(AUDIO_DONE)
        self.receive(agent(CallSettings().phrases.one_moment))
        for size in sizes:
            self.speak(bytes(size))
        self.receive(AUDIO_DONE)

    @precondition(lambda self: self.contract.dialled)
    @rule()
    def the_agent_fails_to_think(self) -> None:
        self.receive(deepgram.Error("FAILED_TO_THINK", ""))

    @precondition(lambda self: self.contract.dialled)
    @rule(
        lost=st.sampled_from([None, 1001, 1011, 4000]).map(
            lambda code: LegLost("agent", "why", code=code)
        )
        | st.just(AgentLegRefused(503))
        | st.just(deepgram.Error("INTERNAL_SERVER_ERROR", "")),
        settles=st.booleans(),
        after_s=st.sampled_from([1.0, 3.0]),
    )
    def the_agents_leg_is_lost(self, lost: Input, settles: bool, after_s: float) -> None:
        self.receive(lost)
        self.time_passes(after_s)
        if settles and self.contract.dialled:
            self.receive(WELCOME)
            self.receive(APPLIED)

    @precondition(lambda self: self.contract.has_spare)
    @rule(
        message=st.sampled_from(
            [
                SpareWelcomed("request-2"),
                SpareReady(),
                SpareLost("closed"),
                SpareLost("refused", "429"),
            ]
        )
    )
    def the_spare_leg_says_something(self, message: Input) -> None:
        self.receive(message)

    @precondition(lambda self: self.contract.has_spare and not self.contract.over)
    @rule(welcomed=st.booleans(), settles=st.booleans())
    def the_agents_leg_is_lost_beside_a_spare(self, welcomed: bool, settles: bool) -> None:
        if welcomed:
            self.receive(SpareWelcomed("request-2"))
        self.receive(LegLost("agent", "why", code=1011))
        self.time_passes(0.0)
        if self.contract.over:
            return  # without its agent a call that was to end is over, and the session closes both
        assert not self.contract.has_spare
        if settles and self.contract.dialled:
            if not welcomed:
                self.receive(WELCOME)
            self.receive(APPLIED)

    @precondition(lambda self: self.asks_after and self.contract.started)
    @rule(returns=st.booleans())
    def the_stream_breaks_off(self, returns: bool) -> None:
        self.receive(LegLost("caller", "cut off"))
        if returns and self.call.phase is Phase.AWAY:
            self.receive(CallerReturning())
            self.receive(START)

    @precondition(lambda self: not self.contract.dialled)
    @rule(text=TEXTS)
    def an_agent_that_was_hung_up_had_heard_something(self, text: str) -> None:
        self.receive(LateTurn(text))

    @rule(leg=LEGS, recovers=st.booleans())
    def a_socket_stalls(self, leg: Leg, recovers: bool) -> None:
        if leg == "caller" or self.contract.dialled:
            self.receive(LegStalled(leg))
            if recovers:
                self.receive(LegRecovered(leg))

    @rule(leg=LEGS)
    def garbage_comes(self, leg: Leg) -> None:
        self.receive(GarbageReceived(leg, "bad JSON"))

    @precondition(lambda self: self.call.phase is not Phase.ENDED)
    @rule(seldom=st.integers(0, 9), last=LAST)
    def something_goes_wrong(self, seldom: int, last: list[Input]) -> None:
        if seldom == 0:  # or no call would grow old
            for message in last:
                self.receive(message)

    @rule(seconds=SECONDS | st.sampled_from([5.0, 15.0]))
    def time_passes(self, seconds: float) -> None:
        """Every deadline is served when it is due, as the session does."""
        end = self.now + seconds
        while (due := self.call.deadline()) is not None and due <= end:
            self.now = max(self.now, due)
            self.tick()
            after = self.call.deadline()
            assert after is None or after > self.now, "a deadline that serving does not meet"
        self.now = end
        assert self.call.phase is not Phase.BARGE_IN or end < self.quiet_since + FENCE_QUIET_S

    @rule(seconds=SECONDS | st.sampled_from([30.0, 3600.0, 86400.0]))
    def time_passes_unnoticed(self, seconds: float) -> None:
        """The process was held up: a deadline is served late, and only once."""
        self.now += seconds
        self.tick()
        due = self.call.deadline()
        assert due is None or due > self.now

    @rule(seconds=SECONDS)
    def time_passes_and_no_timer_fires(self, seconds: float) -> None:
        self.now += seconds

    # --- and what the call makes of it ---------------------------------------------------------

    def receive(self, message: Input) -> list[Command]:
        self.contract.enter(message)
        before = self.call.phase
        self.call.receive(message, self.now)
        commands = self.commanded()
        self.obey(commands)
        if before is not self.call.phase and self.call.phase is Phase.BARGE_IN:
            self.quiet_since = self.now
        return commands

    def tick(self) -> None:
        before = self.call.phase
        self.call.tick(self.now)
        commands = self.commanded()
        if before is Phase.SETTLING:
            # Nothing of an agent's can be played: it is hold sound, or a moment's words once.
            for sound in (each for each in commands if isinstance(each, Play)):
                audio = b"".join(part for part, _ in sound.pieces)
                if not audio:
                    continue  # the last mark of an operator's audio
                assert not self.muted or Note(AgentMuted(False)) in commands
                assert audio == TONE or (self.has_kept and audio == bytes(len(audio)))
                assert 0 < len(audio) <= KEPT_MAX
                self.held += len(audio)
        self.obey(commands)
        if before is not self.call.phase and self.call.phase is Phase.BARGE_IN:
            self.quiet_since = self.now

    def commanded(self) -> list[Command]:
        commands = self.commands.copy()
        self.commands.clear()
        return commands

    def speak(self, chunk: bytes) -> None:
        before = self.call.phase
        held = self.held_speech()
        muted = self.muted
        in_time = self.now - self.quiet_since < FENCE_QUIET_S
        fenced = before is Phase.BARGE_IN and in_time and not muted
        self.received += len(chunk)
        pieces = self.call.speak(chunk, self.now)
        self.contract.play(pieces)
        self.play(pieces)
        assert all(len(audio) % FRAME_BYTES == 0 for audio, _ in pieces)
        if fenced:
            assert self.call.phase is Phase.BARGE_IN
            self.late += len(chunk)
            self.all_late += len(chunk)
            self.quiet_since = self.now
        elif before is Phase.WAITING:
            self.too_much += len(chunk) - (self.held_speech() - held)
        elif muted or before in (Phase.SETTLING, Phase.AWAY, Phase.ENDED):
            self.given_up += len(chunk)
        self.obey(self.commanded())

    def echo(self, name: str) -> None:
        """A mark confirms something only if it is of this epoch, and not beyond what was sent."""
        playback = self.call.turns.playback
        before, now = playback.known, self.epoch
        epoch, _, position = name.partition(":")
        self.receive(mark(name))
        if self.epoch == now and playback.known != before:
            assert epoch == str(now)
            assert before < int(position) == playback.known <= self.sent_in_epoch

    def obey(self, commands: list[Command]) -> None:
        self.contract.leave(commands)
        may_go = 0
        for command in commands:
            match command:
                case Play():
                    self.play(list(command.pieces))
                case SendAudio() if self.caller_held:
                    assert command.audio == b"".join(self.caller_held)
                    self.caller_held.clear()
                    self.caller_audio = self.caller_audio[: -len(command.audio) or None]
                case LeaveStream() | AwaitCaller():
                    self.caller_audio = b""
                    self.caller_held.clear()
                case Note(AgentLost(why="no_spare")):
                    # What was kept for the spare is held for the leg that follows.
                    self.caller_held.extend(self.call.link.held_frames)
                    self.caller_audio += b"".join(self.caller_held)
                case HangUpAgent() | End():
                    may_go += HELD_AGENT_BYTES
                case Note(AgentAnnounced(number, text)):
                    assert number > self.said_count, "it is over already"
                    self.announced.setdefault(number, []).append(text)
                    self.has_kept |= text == CallSettings().phrases.one_moment
                case Note(AgentHeard(number, heard_ms)):
                    assert number == self.said_count + 1, "utterances are heard in their order"
                    assert heard_ms >= self.reported_ms
                    self.reported_ms = heard_ms
                case Note(AgentSaid() as said):
                    self.told_ms += said.heard_ms
                    self.said_count += 1
                    texts = self.announced.pop(self.said_count, [])
                    assert " ".join(texts) == said.intended
                    assert self.reported_ms <= said.heard_ms
                    self.reported_ms = 0
                    assert said.text in ("", said.intended) or said.interrupted
                    words = said.text.split()
                    assert said.intended.split()[: len(words)] == words
                case Note(AudioDropped(leg="caller", why="late") as dropped):
                    assert dropped.ms == milliseconds(self.late)
                    self.late = 0
                case Note(AudioDropped(leg="agent") as dropped):
                    kept = sum(map(len, self.caller_held))
                    assert dropped.ms == milliseconds(len(self.caller_audio) - kept)
                    # Told once: after a loss the next leg has a gap of its own.
                    self.caller_audio = self.caller_audio[len(self.caller_audio) - kept :]
                case Note(AgentMuted(on)):
                    self.muted = on
                case Note(CallEnded()):
                    self.endings += 1
        if self.call.turns.playback.epoch != self.epoch:
            may_go += FRAME_BYTES - 1
        self.follow_epoch()
        self.account(may_go)

    def account(self, may_go: int) -> None:
        """No byte of the agent's is lost unnoticed: what a cut, or a lost leg, gives up apart."""
        kept = self.contract.sent - self.held + self.carried() + self.held_speech()
        gone = self.received - kept - self.too_much - self.all_late - self.given_up
        assert 0 <= gone <= may_go
        self.given_up += gone

    def play(self, pieces: list[Piece]) -> None:
        self.follow_epoch()
        names = [name for _, name in pieces if name is not None]
        self.marks += names
        if names and not names[-1].startswith(f"{self.epoch}:"):
            return  # It was cut in the same moment.
        self.sent_in_epoch += sum(len(audio) for audio, _ in pieces)

    def carried(self) -> int:
        return self.call.turns.playback.carried

    def held_speech(self) -> int:
        return sum(len(chunk) for chunk in self.call.link.held_speech if isinstance(chunk, bytes))

    def follow_epoch(self) -> None:
        epoch = self.call.turns.playback.epoch
        assert epoch >= self.epoch
        if epoch != self.epoch:
            self.epoch = epoch
            self.sent_in_epoch = 0

    # --- what is always true -------------------------------------------------------------------

    @invariant()
    def no_more_is_heard_than_sent(self) -> None:
        playback = self.call.turns.playback
        heard = playback.heard(self.now)
        assert 0 <= heard <= playback.sent == self.sent_in_epoch
        assert heard <= min(playback.marks, default=heard)
        assert self.told_ms * 8 <= self.contract.sent

    @invariant()
    def buffers_are_bounded(self) -> None:
        assert self.call.link.held_caller_bytes <= HELD_CALLER_BYTES
        assert self.held_speech() <= HELD_AGENT_BYTES
        assert len(self.call.turns.playback.kept) <= KEPT_MAX
        assert self.carried() < FRAME_BYTES
        assert all(len(faults) <= FAULTS_MAX + 1 for faults in self.call.health.violations.values())

    @invariant()
    def the_end_is_the_end(self) -> None:
        over = self.call.phase is Phase.ENDED
        assert over == (self.call.ending is not None) == self.contract.over
        assert self.endings == over
        if over:
            assert self.call.deadline() is None
            assert not self.call.link.held_caller_bytes
            assert not self.call.link.held_speech
            assert not self.call.is_taken
        else:
            assert self.call.deadline() is not None or self.call.phase is Phase.WAITING
            assert self.muted or not self.call.is_taken, "two speak with the caller"

    def teardown(self) -> None:
        """Whatever state a call is in, it can be ended, once."""
        if not hasattr(self, "call"):
            return
        self.receive(ServerStopped())
        self.receive(ServerStopped())
        self.the_end_is_the_end()
        self.no_more_is_heard_than_sent()


TestConversation = pytest.mark.long(Conversation.TestCase)
TestConversation.settings = settings(
    max_examples=sized(100, 5000), stateful_step_count=50, deadline=None
)


# --- what was once found -------------------------------------------------------------------------
# Hypothesis takes no `@example` for a machine, and the keys of its database change with this file:
# what it has found is written down here, and played on every clone, with every invariant.

_LEAVES_BY_KEYS: Final = CallSettings(actions={"9": HangUpByKey(), "*": HangUpByKey("Bye.")})

FOUND: Final[dict[str, Callable[[Conversation], None]]] = {
    "a leg that is lost beside a spare that is dialled": lambda it: (
        it.begin(CallSettings(), 0.0, "rolling over"),
        it.the_agents_leg_is_lost_beside_a_spare(False, True),
    )[0],
    "a leg that is lost beside a spare that has its settings": lambda it: (
        it.begin(CallSettings(), 0.0, "rolling over"),
        it.the_caller_sends_audio(FRAME_BYTES),
        it.the_agents_leg_is_lost_beside_a_spare(True, True),
    )[0],
    "two keys that end the call, while the agent settles": lambda it: (
        it.begin(_LEAVES_BY_KEYS, 0.0, "settling"),
        it.the_caller_presses_a_key("9"),
        it.the_caller_presses_a_key("*"),
    )[0],
    "a stream that breaks off, and the caller is back": lambda it: (
        it.begin(CallSettings(), 0.0, "talking", asks_after=True),
        it.the_stream_breaks_off(True),
    )[0],
    "the same at once": lambda it: (
        it.begin(_LEAVES_BY_KEYS, 0.0, "settling"),
        it.the_caller_presses_many_keys("9*"),
    )[0],
}


@pytest.mark.parametrize("name", FOUND)
def test_what_was_once_found(name: str) -> None:
    conversation = Conversation()
    FOUND[name](conversation)
    conversation.no_more_is_heard_than_sent()
    conversation.buffers_are_bounded()
    conversation.the_end_is_the_end()
    conversation.teardown()
