"""A call whose process died goes on in the next one, as it was, without a second greeting."""

import asyncio
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.calls.fake_session import live_entry
from tests.calls.interruptions import ORIGIN, SID, Process, Servers
from tests.waiting import wait_until
from tests.whole_server import (
    ACCOUNT,
    ASK,
    GREET,
    HANG_UP,
    HOURS,
    QUICK,
    caller,
    configured,
    texts,
)

from offhook.audio import SILENCE
from offhook.call.ending import Ending, Slug
from offhook.call.handoff_actions import Dial, HandoffAction, JoinConference, SendDigits
from offhook.call.requests import Leave, Update
from offhook.calls import compose
from offhook.calls.call_entry import CalledPerson
from offhook.calls.call_updates import CallUpdates
from offhook.calls.control import CallControl
from offhook.calls.interrupted import InterruptedCalls
from offhook.calls.live_facts import MARK, decoded, encoded, facts_of
from offhook.calls.places import TakenCall
from offhook.capture.tap import NewCall
from offhook.concurrency.server_tasks import ServerTasks
from offhook.deepgram.messages import InjectUserMessage, UpdatePrompt
from offhook.events.types import (
    AgentAnnounced,
    AgentSaid,
    CallBegan,
    CallEnded,
    CallerBack,
    CallerSaid,
    CallEvent,
    CallStarted,
    CallTakenOver,
    RecordingEnded,
    RecordingFailed,
    RecordingStarted,
)
from offhook.journal.entries import encode
from offhook.journal.live_files import LiveCallFile
from offhook.recordings.growing import NOT_HERE
from offhook.recordings.wav import read_stereo
from offhook.testing.scenarios.caller import SimulatedCaller
from offhook.testing.scenarios.scenario import ScenarioStep
from offhook.testing.simulator.deepgram.script import Script, ScriptTurn
from offhook.testing.virtual_clock import VirtualClock
from offhook.twilio.rest import RestCall

STAYS = ScenarioStep(wait=600)
GREETING = "Hello! How can I help you today?"


def servers(script: Script = QUICK) -> Servers:
    return Servers(configured("ws://127.0.0.1:1/"), script)


def on_the_line(of: Servers, who: SimulatedCaller | None = None) -> None:
    """Begin a call, and let the greeting be heard."""
    token = of.announce().token
    of.now.stream(who or caller(GREET, STAYS), token)
    of.clock.run(6)
    assert texts(of.now.events, AgentSaid) == [GREETING]


def token_in(document: str) -> str:
    found = re.search(r'name="token" value="([^"]+)"', document)
    assert found is not None, document
    return found[1]


def asked(process: Process, **fields: str) -> str:
    document = process.after(stream="0", **fields)
    assert "stream=1" in document
    return token_in(document)


def injected(process: Process) -> list[str]:
    received = (m for agent in process.agents for m in agent.received)
    return [m.content for m in received if isinstance(m, InjectUserMessage)]


def history(process: Process) -> list[tuple[str, str]]:
    settings = process.agents[-1].settings
    assert settings is not None
    return [(each.role or "", each.content or "") for each in settings.context]


def test_a_call_goes_on_in_the_next_process_without_a_second_greeting() -> None:
    of = servers()
    on_the_line(of)
    old = of.now.entry().token
    began = of.now.entry().began
    next_ = of.crash()
    assert next_.calls.registry.live_count == 1, "the call has its place"
    of.clock.run(1)
    assert next_.agents == [], "the agent waits for Twilio's question"
    token = asked(next_)
    assert token != old
    assert asked(next_) == token, "a repeated request gets the same answer"
    next_.stream(caller(ASK, GREET, HANG_UP), token)
    of.clock.run(20)
    assert len(next_.agents) == 1
    assert GREETING not in texts(next_.events, AgentSaid)
    assert texts(next_.events, CallerSaid) == [HOURS]
    assert texts(next_.events, AgentSaid) == ["Of course, what else?"]
    kinds = [type(each) for each in next_.events]
    assert kinds[1 if kinds[0] is not CallTakenOver else 0] is CallTakenOver
    assert kinds.count(CallerBack) == 1
    assert CallBegan not in kinds
    assert CallStarted not in kinds
    (ended,) = (each for each in next_.happened if isinstance(each.event, CallEnded))
    assert ended.at_ms == pytest.approx(1000 * (of.clock.now() - began), abs=20_000)
    assert ended.at_ms > 7000, "the call's time goes on"
    assert of.files == {}, "a call that is over leaves no file"


def test_the_next_agent_has_the_conversation() -> None:
    of = servers()
    on_the_line(of, caller(GREET, ASK, GREET, STAYS))
    of.clock.run(10)
    next_ = of.crash()
    next_.stream(caller(STAYS), asked(next_))
    of.clock.run(5)
    assert history(next_) == [
        ("assistant", GREETING),
        ("user", HOURS),
        ("assistant", "Of course, what else?"),
    ]
    assert injected(next_) == []


def test_a_turn_without_an_answer_is_repeated_and_answered_once() -> None:
    slow = Script(turns=QUICK.turns, silence_ms=300, reply_ms=5000)
    of = servers(slow)
    on_the_line(of, caller(GREET, ASK, STAYS))
    of.clock.run_until(lambda: texts(of.now.events, CallerSaid) == [HOURS], 10)
    next_ = of.crash()
    next_.stream(caller(STAYS), asked(next_))
    of.clock.run(15)
    assert injected(next_) == [HOURS]
    assert texts(next_.events, AgentSaid) == ["Of course, what else?"]
    assert texts(next_.events, CallerSaid) == [], "the record has it already"
    assert history(next_) == [("assistant", GREETING)]


def test_an_agent_that_was_cut_is_told_to_go_on_and_the_record_has_what_was_heard() -> None:
    long = "We are open from Monday to Friday, from nine in the morning until six in the evening."
    script = Script(turns=[ScriptTurn(hear=HOURS, say=[long])], silence_ms=300, reply_ms=50)
    of = servers(script)
    on_the_line(of, caller(GREET, ASK, STAYS))
    of.clock.run_until(lambda: AgentAnnounced(2, long) in of.now.events, 15)
    of.clock.run(2)
    next_ = of.crash()
    (said,) = (each for each in next_.events if isinstance(each, AgentSaid))
    assert said.interrupted
    assert long.startswith(said.text)
    assert 0 < len(said.text) < len(long)
    next_.stream(caller(STAYS), asked(next_))
    of.clock.run(5)
    phrases = of.config.lines["default"].phrases
    assert injected(next_) == [phrases.go_on]
    assert history(next_)[-1] == ("assistant", said.text)


def test_a_call_that_had_no_stream_yet_is_greeted_with_the_token_that_twilio_has() -> None:
    of = servers()
    token = of.announce().token
    next_ = of.crash()
    next_.stream(caller(GREET, HANG_UP), token)
    of.clock.run(20)
    assert next_.refused == []
    assert texts(next_.events, AgentSaid) == [GREETING]


def test_a_stream_of_which_the_file_knows_nothing_is_followed_by_another_one() -> None:
    """The process died within the first 40 ms of the stream."""
    of = servers()
    of.announce()
    next_ = of.crash()
    next_.stream(caller(GREET, HANG_UP), asked(next_))
    of.clock.run(20)
    assert texts(next_.events, AgentSaid) == [GREETING]


def test_the_token_of_the_stream_that_broke_off_is_refused() -> None:
    of = servers()
    token = of.announce().token
    of.now.stream(caller(GREET, STAYS), token)
    of.clock.run(6)
    next_ = of.crash()
    next_.stream(caller(STAYS), token)
    of.clock.run(1)
    assert next_.refused == ["a token of another call"]


def test_a_caller_who_does_not_come_back_ends_the_call_where_it_broke_off() -> None:
    of = servers()
    on_the_line(of)
    last_ms = of.now.happened[-1].at_ms
    next_ = of.crash()
    of.clock.run(61)
    (ended,) = (each for each in next_.events if isinstance(each, CallEnded))
    assert ended.slug == "server_died"
    assert ended.duration_ms == last_ms
    assert of.files == {}
    assert next_.calls.registry.live_count == 0
    assert "Say" in next_.after(stream="0"), "whoever asks later hears the fallback"


def test_a_caller_who_has_hung_up_meanwhile_ends_the_call() -> None:
    of = servers()
    on_the_line(of)
    next_ = of.crash()
    assert "<Response" in next_.after(stream="0", CallStatus="completed")
    assert [each.slug for each in next_.events if isinstance(each, CallEnded)] == ["server_died"]


def test_a_call_that_ended_as_its_process_died_does_not_begin_again() -> None:
    of = servers()
    on_the_line(of)
    of.files[SID].append(encode(CallEvent(SID, 6000, Ending(Slug.CALLER_HUNG_UP).event(6000)), 0))
    next_ = of.crash()
    assert not any(isinstance(each, CallTakenOver | CallEnded) for each in next_.events)
    assert next_.calls.registry.live_count == 0
    assert of.files == {}


def test_a_call_survives_process_after_process_but_not_one_that_kills_them() -> None:
    of = servers()
    on_the_line(of)
    for number in range(5):
        next_ = of.crash()
        document = next_.after(stream=str(number))
        next_.stream(caller(STAYS), token_in(document))
        of.clock.run(20)
        assert next_.entry().has_stream, "each has lived for a while"
    for _ in range(3):
        of.crash()
        of.clock.run(1)
    assert SID in of.now.calls.registry.live
    next_ = of.crash()
    assert SID not in next_.calls.registry.live
    assert of.files == {}, "the operator's process ends it"


def test_a_transfer_in_progress_ends_as_if_nothing_had_happened() -> None:
    of = servers()
    on_the_line(of)
    desk = Dial("desk", "+12025550177")
    session = of.now.entry().session
    assert session is not None
    session.ask(Leave(desk), lambda done, what: None)
    of.clock.run(2)
    assert "Dial" in of.now.after(stream="0")
    next_ = of.crash()
    assert "Dial" in next_.after(stream="0"), "the same question gets the same answer"
    next_.after(left="1", DialCallStatus="completed")
    (ended,) = (each for each in next_.events if isinstance(each, CallEnded))
    assert ended.slug == "transferred"


def test_a_caller_who_was_not_transferred_comes_back_and_the_agent_is_told() -> None:
    of = servers()
    on_the_line(of)
    session = of.now.entry().session
    assert session is not None
    session.ask(Leave(Dial("desk", "+12025550177")), lambda done, what: None)
    of.clock.run(2)
    of.now.after(stream="0")
    next_ = of.crash()
    document = next_.after(left="1", DialCallStatus="busy")
    again = of.crash()
    assert again.after(left="1", DialCallStatus="busy") == document
    again.stream(caller(STAYS), token_in(document))
    of.clock.run(5)
    assert any("desk" in told and "busy" in told for told in injected(again))


def test_keys_that_are_pressed_meanwhile_bring_the_caller_back_by_the_token_they_had() -> None:
    of = servers()
    on_the_line(of)
    session = of.now.entry().session
    assert session is not None
    session.ask(Leave(SendDigits("1w2")), lambda done, what: None)
    of.clock.run(2)
    document = of.now.after(stream="0")
    assert "Play" in document
    next_ = of.crash()
    next_.stream(caller(STAYS), token_in(document))
    of.clock.run(5)
    assert next_.refused == []
    assert injected(next_) == [of.config.lines["default"].phrases.keys_sent]


def test_changes_of_the_agent_are_kept() -> None:
    of = servers()
    on_the_line(of)
    session = of.now.entry().session
    assert session is not None
    session.ask(Update(UpdatePrompt("Be brief.")), lambda done, what: None)
    of.clock.run(2)
    next_ = of.crash()
    assert next_.entry().changes == (UpdatePrompt("Be brief."),)
    facts = facts_of(next_.entry(), "")
    assert decoded(encoded(facts)) == facts
    assert facts.token is not None
    assert facts.token not in repr(facts)


def test_a_call_of_a_twiml_bin_cannot_come_back() -> None:
    of = servers()
    of.now.stream(caller(GREET, STAYS), None)
    of.clock.run(6)
    assert SID in of.files
    next_ = of.crash()
    assert next_.calls.registry.live == {}
    assert of.files == {}


def test_an_agent_that_is_gone_leaves_its_caller_the_fallback() -> None:
    of = servers()
    on_the_line(of)
    other = of.config.lines["default"].model_copy(update={"name": "other"})
    of.config.lines["default"] = other  # type: ignore[index]
    next_ = of.crash()
    assert next_.calls.registry.live == {}
    assert "Say" in next_.after(stream="0", To="+12025550100")


@pytest.mark.parametrize(("boot", "later_s"), [("00000000", 0.0), (None, 3600.0)])
def test_a_call_from_before_the_machine_was_started_anew_is_over(
    boot: str | None, later_s: float
) -> None:
    """Its seconds are of a clock that began anew: what would it have lasted?"""
    of = servers()
    on_the_line(of)
    lines = []
    for line in of.files[SID]:
        if line.startswith(MARK):
            facts = decoded(line)
            other = facts.boot if boot is None else boot
            line = encoded(replace(facts, boot=other, began_s=facts.began_s + later_s))
        lines.append(line)
    why = Process(servers()).calls.interrupted._begin(TakenCall(SID, lines))
    assert why == "the machine has been started anew since"


@pytest.mark.parametrize("steps", [(GREET, STAYS), (GREET, ASK, GREET, STAYS)])
def test_no_torn_file_stops_a_start(steps: tuple[ScenarioStep, ...]) -> None:
    """Whatever is left of the file: the call goes on, or is over, and the process lives."""
    of = servers()
    on_the_line(of, caller(*steps))
    of.clock.run(8)
    whole = b"".join(line + b"\n" for line in of.files[SID])
    first = whole.index(b"\n") + 1
    goes_on = 0
    for length in [*range(0, len(whole), 7), len(whole)]:
        torn = whole[:length]
        next_ = Process(of_nothing := servers())
        del of_nothing
        lines = torn[: torn.rfind(b"\n") + 1].split(b"\n")[:-1]
        why = next_.calls.interrupted._begin(TakenCall(SID, lines))
        assert (why is None) == (length >= first), why
        goes_on += why is None
        damaged = [*lines, torn[torn.rfind(b"\n") + 1 :], b'["CallerSaid"]', b"{}", b"\xff\0"]
        other = Process(servers())
        other.calls.interrupted._begin(TakenCall(SID, damaged))
    assert goes_on > 10


@pytest.mark.parametrize("paused", [False, True])
def test_a_recording_goes_on_in_the_same_file_with_silence_for_the_gap(
    tmp_path: Path, paused: bool
) -> None:
    config = configured("ws://127.0.0.1:1/", announcement="It is recorded.", recording=True)
    of = Servers(config, QUICK, tmp_path)
    on_the_line(of)
    if paused:
        assert of.now.entry().control.set_recording(False)
        of.clock.run(1)
    first = of.now
    next_ = of.crash()
    of.clock.run(2)
    next_.stream(caller(ASK, GREET, HANG_UP), asked(next_))
    of.clock.run(20)
    next_.write_recordings()
    (path,) = tmp_path.iterdir()
    left, right = read_stereo(path)
    assert len(left) == len(right)
    (started,) = (each.event for each in first.happened if isinstance(each.event, RecordingStarted))
    assert started.name == path.name
    assert not [each for each in next_.events if isinstance(each, RecordingStarted)]
    (ended,) = (each for each in next_.happened if isinstance(each.event, RecordingEnded))
    start_ms = next(h.at_ms for h in first.happened if h.event is started)
    assert len(left) == pytest.approx(8 * (ended.at_ms - start_ms), abs=800)
    spoken = right.rstrip(SILENCE)[8 * 7000 :].strip(SILENCE)
    assert bool(spoken) is not paused, "a pause lasts"
    assert right[: 8 * 4000].strip(SILENCE), "what was there stays"


def test_a_recording_whose_beginning_is_at_another_node_ends_and_says_why(tmp_path: Path) -> None:
    config = configured("ws://127.0.0.1:1/", announcement="It is recorded.", recording=True)
    of = Servers(config, QUICK, tmp_path)
    on_the_line(of)
    next_ = of.crash()
    of.clock.run(2)
    (path,) = tmp_path.iterdir()
    path.rename(tmp_path / "elsewhere")
    next_.stream(caller(ASK, GREET, HANG_UP), asked(next_))
    of.clock.run(1)
    recordings = next_.recordings
    assert recordings is not None
    (file,) = recordings._live.values()
    wait_until(lambda: file.stopped)  # the disk's thread has looked
    of.clock.run(20)
    next_.write_recordings()
    assert [path.name for path in tmp_path.iterdir()] == ["elsewhere"]
    (failed,) = (each for each in next_.events if isinstance(each, RecordingFailed))
    assert failed.why == NOT_HERE
    (ended,) = (each for each in next_.events if isinstance(each, CallEnded))
    assert ended.slug == "caller_hung_up", "the call goes on"


class Rest:
    """A REST API that knows how the call has ended."""

    async def fetch_call(self, call_sid: str) -> RestCall:
        return RestCall(sid=call_sid, status="completed", duration="42")


async def test_a_call_that_does_not_come_back_is_settled_by_rest() -> None:
    billed: list[tuple[str, str, int]] = []
    dropped: list[str] = []
    unused: Any = None
    registry: Any = SimpleNamespace(
        live={}, bill=lambda *told: billed.append(told), find=lambda sid: None
    )
    agents: Any = SimpleNamespace(find=lambda name: None)
    async with asyncio.TaskGroup() as group:
        rest: Any = Rest()
        updates = CallUpdates(rest, ServerTasks(group))
        interrupted = InterruptedCalls(
            lambda: [LiveCallFile(SID, [b"torn"])],
            dropped.append,
            agents,
            registry,
            unused,
            updates,
            VirtualClock(),
        )
        interrupted.take_over()
    assert dropped == [SID]
    assert billed == [(SID, "completed", 42)]


@pytest.mark.parametrize(
    ("action", "has_begun", "is_hung_up"),
    [
        (None, False, True),
        (JoinConference("ann", "a conference"), False, True),
        (JoinConference("ann", "a conference"), True, False),
    ],
    ids=["is asked", "waits", "talks"],
)
async def test_a_person_does_not_wait_for_a_caller_whose_call_cannot_go_on(
    action: HandoffAction | None, has_begun: bool, is_hung_up: bool
) -> None:
    hung_up: list[str] = []
    unused: Any = None
    sessions: Any = SimpleNamespace(boot="")
    registry: Any = SimpleNamespace(live={}, find=lambda sid: None, bill=lambda *told: None)
    agents: Any = SimpleNamespace(find=lambda name: None)

    class Twilio(Rest):
        async def hang_up(self, sid: str) -> None:
            hung_up.append(sid)

    clock = VirtualClock()
    entry = live_entry(clock)
    entry.control = CallControl(
        NewCall(SID, "gone", "webhook", "", ""), unused, unused, unused, unused
    )
    entry.values = {}
    entry.person = CalledPerson("id", "CA" + "7" * 32)
    entry.handoff.resume(1, action, has_begun=has_begun, is_returning=False)
    async with asyncio.TaskGroup() as group:
        rest: Any = Twilio()
        interrupted = InterruptedCalls(
            list,
            lambda sid: None,
            agents,
            registry,
            sessions,
            CallUpdates(rest, ServerTasks(group)),
            clock,
        )
        assert not interrupted.go_on(TakenCall(SID, [encoded(facts_of(entry, ""))]))
    assert hung_up == ([entry.person.leg] if is_hung_up else [])


@pytest.mark.parametrize(
    ("what", "is_brought_back"),
    [
        ("a stream that has ended unheard", True),
        ("a stream that is awaited", False),
        ("no credentials", False),
        ("a question that was answered first", False),
    ],
)
def test_a_reaped_call_is_brought_back_by_rest_unless_twilio_comes_by_itself(
    what: str, is_brought_back: bool
) -> None:
    of = servers()
    on_the_line(of)
    of.now.die()
    after = of.begin_beside()
    file = after.journal.adopt(SID)
    assert file is not None
    calls, asked_for = after.calls, list[str]()
    given: dict[str, Any] = {}
    nobody: Any = SimpleNamespace(
        listen=lambda **functions: given.update(functions),
        end=lambda call_sid: None,
        give_up=None,
        epoch_of=lambda call_sid: 2,
    )

    class Rest:
        async def update_call(self, call_sid: str, *, url: str) -> None:
            asked_for.append(url)

    async def reap() -> None:
        rest: Any = None if what == "no credentials" else Rest()
        async with asyncio.TaskGroup() as group:
            sessions = calls.intake._sessions
            sessions._updates = CallUpdates(rest, ServerTasks(group))
            compose._join(nobody, sessions, calls.interrupted, calls.releasing, calls.registry)
            taken = TakenCall(SID, file.lines, 2, "b")
            given["reaped"](taken, what == "a stream that is awaited")
            assert SID in calls.registry.live
            if what == "a question that was answered first":
                form = {"CallSid": SID, "AccountSid": ACCOUNT, "CallStatus": "in-progress"}
                await after.flow.after({**form, "stream": "0"}, ORIGIN)

    asyncio.run(reap())
    assert [url.partition("#")[0].rpartition("/")[2] for url in asked_for] == (
        ["after?stream=0"] if is_brought_back else []
    )
