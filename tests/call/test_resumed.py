"""A call that goes on after its process died is what it was, by its events alone."""

from tests.call.playbook import (
    APPLIED,
    AUDIO_DONE,
    START,
    WELCOME,
    Forwarded,
    Frame,
    Playbook,
    Wait,
    agent,
    inject,
    speech,
)
from tests.events.test_describe import example

from offhook.call.call_settings import CallSettings
from offhook.call.commands import DialAgent, Note, SendSettings, TellAgent
from offhook.call.ending import Slug
from offhook.call.inputs import (
    AgentLegRefused,
    CallAnnounced,
    CallerReturning,
    CallOver,
    ProcessDied,
)
from offhook.call.phases import Phase
from offhook.call.recovery import BUSY_S
from offhook.call.resumed import KEPT, ResumedCall
from offhook.deepgram import messages as deepgram
from offhook.deepgram.changes import Change
from offhook.events.types import (
    AgentAnnounced,
    AgentConnected,
    AgentSaid,
    AgentTold,
    CallerBack,
    CallerLeft,
    CallerSaid,
    CallReleased,
    CallStarted,
    CallTakenOver,
    Dialled,
    Event,
    FunctionAnswered,
    FunctionCalled,
    FunctionDropped,
    RecordingPaused,
    StreamBroke,
)

HELLO = AgentSaid("Hello.", "Hello.", 500, interrupted=False)


def resumed(*events: Event) -> ResumedCall:
    made = ResumedCall()
    for number, event in enumerate((CallStarted(), *events)):
        made.take(event, 100 * number)
    return made


def back(call: ResumedCall, *changes: Change, unrepeatable: str = "") -> tuple[Playbook, ...]:
    """Bring the caller of an interrupted call back, until the agent is there."""
    book = Playbook()
    before = ProcessDied(call, changes, frozenset({unrepeatable}))
    return (book >> before << ... << Phase.AWAY >> CallerReturning() << DialAgent(),)


def told(book: Playbook) -> list[str]:
    """Return what the agent is told in the caller's stead, once it is there."""
    commands: list[object] = []
    book.listeners.append(commands.append)
    book >> START << ... >> WELCOME << ... >> APPLIED << ...
    return [
        each.message.content
        for each in commands
        if isinstance(each, TellAgent) and isinstance(each.message, deepgram.InjectUserMessage)
    ]


def test_the_agent_gets_the_conversation_and_no_greeting() -> None:
    (book,) = back(resumed(HELLO, CallerSaid("Hi."), HELLO))
    (
        book
        >> START
        << CallerBack()
        >> WELCOME
        << SendSettings(
            greeting=False,
            history=(
                deepgram.History("assistant", "Hello."),
                deepgram.History("user", "Hi."),
                deepgram.History("assistant", "Hello."),
            ),
        )
        >> APPLIED
        << AgentConnected("request-1", 0)
        << Phase.TALKING
    )


def test_a_call_whose_agent_has_said_nothing_is_greeted() -> None:
    (book,) = back(resumed())
    book >> START << CallerBack() >> WELCOME << SendSettings(greeting=True)


def test_a_turn_without_answer_is_repeated() -> None:
    (book,) = back(resumed(HELLO, CallerSaid("When?")))
    assert told(book) == ["When?"]
    (book,) = back(resumed(HELLO, AgentTold("Ask.")))
    assert told(book) == ["Ask."]


def test_after_functions_the_agent_is_told_to_go_on() -> None:
    ran = (FunctionCalled("1", "look", "{}"), FunctionAnswered("1", "look", "answered", "x", 5))
    (book,) = back(resumed(HELLO, CallerSaid("When?"), *ran))
    phrases = book.call.phrases
    assert told(book) == [phrases.go_on]


def test_a_thought_signature_is_in_the_history_of_the_next_process() -> None:
    signed = FunctionCalled("1", "look", "{}", "c2lnbg==")
    other = FunctionCalled("2", "look", "{}")
    ran = (FunctionAnswered(each, "look", "answered", "x", 5) for each in "12")
    call = resumed(HELLO, CallerSaid("When?"), signed, other, *ran)
    (book,) = back(call)
    settings: list[SendSettings] = []
    book.listeners.append(
        lambda command: settings.append(command) if isinstance(command, SendSettings) else None
    )
    book >> START << ... >> WELCOME << ...
    (sent,) = settings
    called = [each for entry in sent.history for each in entry.function_calls or ()]
    assert [(each.id, each.thought_signature) for each in called] == [
        ("1", "c2lnbg=="),
        ("2", None),
    ]


def test_open_functions_are_called_off_or_unknown() -> None:
    open_ = (FunctionCalled("1", "look", "{}"), FunctionCalled("2", "pay", "{}"))
    noted: list[Event] = []
    book = Playbook()
    book.listeners.append(
        lambda command: noted.append(command.event) if isinstance(command, Note) else None
    )
    died = ProcessDied(resumed(*open_), unrepeatable=frozenset({"pay"}))
    book >> died << ...
    assert noted[1] == FunctionDropped("1", "look", "cancelled")
    assert isinstance(noted[2], FunctionAnswered)
    assert noted[2].outcome == "outcome_unknown"
    assert isinstance(noted[0], CallTakenOver)


def test_utterances_are_numbered_on_and_what_was_cut_is_on_the_record() -> None:
    noted: list[Event] = []
    book = Playbook()
    book.listeners.append(
        lambda command: noted.append(command.event) if isinstance(command, Note) else None
    )
    call = resumed(HELLO, AgentAnnounced(2, "And then"))
    book >> ProcessDied(call) << ...
    assert [each.intended for each in noted if isinstance(each, AgentSaid)] == ["And then"]
    for given in (CallerReturning(), START, WELCOME, APPLIED, agent("Well."), speech(20)):
        book >> given << ...
    book >> AUDIO_DONE << ...
    assert [each.utterance for each in book.progress if isinstance(each, AgentAnnounced)] == [3]


def test_a_caller_who_is_not_heard_of_ends_the_call() -> None:
    book = Playbook()
    book >> ProcessDied(resumed(HELLO)) << ... >> Wait(60) << ... << Phase.ENDED
    book = Playbook()
    book >> ProcessDied(resumed(HELLO)) << ... >> CallOver() << ... << Phase.ENDED
    ending = book.call.ending
    assert ending is not None
    assert ending.how.slug == "server_died"


def test_the_caller_is_held_while_deepgram_still_counts_the_dead_process_legs() -> None:
    (book,) = back(resumed(HELLO))
    book >> START << ...
    for at_s in (0.0, 0.2, 1.0, 3.0, *range(5, int(BUSY_S) - 1, 2)):
        if book.contract.dialled:
            book >> AgentLegRefused(429) << ...
            assert book.call.phase is Phase.SETTLING, f"{at_s} s after the caller came back"
        book >> Wait(2) << ...
        if book.now > 1000 + BUSY_S - 6:
            break
    assert book.held, "the caller hears that the line is held"
    while not book.contract.dialled:
        book >> Wait(0.5) << ...
    book >> WELCOME << ... >> APPLIED << ... << Phase.TALKING


def test_a_caller_is_not_held_for_longer() -> None:
    (book,) = back(resumed(HELLO))
    book >> START << ...
    for _ in range(40):
        if book.contract.dialled:
            book >> AgentLegRefused(429) << ...
        book >> Wait(1) << ...
    ending = book.call.ending
    assert ending is not None
    assert ending.how is Slug.AGENT_BUSY


def test_a_call_spends_on_its_streams_alone_and_in_every_process() -> None:
    call = ResumedCall()
    for at_s, event in (
        (0, CallStarted()),
        (10, CallerLeft("transfer", "ann")),
        (610, CallerBack()),
        (614, StreamBroke("cut off")),
        (620, CallerBack()),
        (625, HELLO),  # then its process dies
        (640, CallTakenOver(15_000)),
        (641, CallerBack()),
        (643, CallReleased("handed_over")),
        (643, CallTakenOver(0)),
        (644, CallerBack()),
        (646, HELLO),  # then its process dies
    ):
        call.take(event, at_s * 1000)
    assert call.streamed_ms == 23_000
    book = Playbook().under(CallSettings(spend_s=30, silence_s=0, answer_s=0))
    (book >> ProcessDied(call) << ... >> Wait(5) >> CallerReturning() << ... >> START << ...)
    book >> WELCOME << ... >> APPLIED << ...
    for _ in range(6):
        book >> Wait(1) >> Frame() << Forwarded()
    goodbye = inject(book.call.phrases.time_up, "queue")
    book >> Wait(1) << goodbye >> Frame() << ...


def test_no_agent_is_dialled_ahead_of_a_stream_that_may_come_to_another_node() -> None:
    book = Playbook(dials_ahead=False)
    book >> ProcessDied(resumed(HELLO)) << ... >> CallerReturning() << Phase.AWAY
    book >> START << CallerBack() << DialAgent() << Phase.SETTLING
    book = Playbook(dials_ahead=False)
    book >> CallAnnounced() >> START << CallStarted() << DialAgent() << Phase.SETTLING


def test_every_event_that_a_file_keeps_is_used() -> None:
    for kind in KEPT:
        made, untouched = ResumedCall(), ResumedCall()
        if kind.__name__.startswith("Function") and kind is not FunctionCalled:
            for each in (made, untouched):
                each.take(FunctionCalled("ID", "NAME", ""), 0)
        for each in (made, untouched):
            each.is_paused, each.is_muted = kind is not RecordingPaused, True
            each.ringing, each.agent_since_ms, each.recording = "x", 5, ("x", 1)
            each.taken = "x", 1
            each.taken_over_ms = [1]
            each._stream_since_ms = 0
        event = Dialled("warm-transfer", "y", "") if kind is Dialled else example(kind)
        made.take(event, 0)
        assert _state(made) != _state(untouched), kind


def _state(of: ResumedCall) -> object:
    return (repr({**vars(of), "_speech": 0}), vars(of._speech))
