"""Twilio's reports about a call, each with the calls and placed calls that it is passed on to."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from offhook.call import inputs
from offhook.events.types import StreamTrouble
from offhook.webhooks import callbacks, process_proof
from offhook.webhooks.callbacks import StatusCallbacks

SID = "CA" + "1" * 32
OVER = inputs.CallOver()


class Told:
    """What registry, transfers, placed calls and a live session are told, in order."""

    def __init__(self, *, places: bool = True, is_news: bool | None = True) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.entry: Any = None
        self.is_news = is_news
        calls = SimpleNamespace(registry=self, transfers=SimpleNamespace(status=self._person))
        following = SimpleNamespace(on_status=self._placed, on_answered_by=self._machine)
        placing = SimpleNamespace(following=following) if places else None
        self.callbacks = StatusCallbacks(cast("Any", calls), cast("Any", placing), "a-process")

    def _person(self, person: str, leg: str, status: str) -> None:
        self.told.append(("person", person, leg, status))

    async def _placed(self, sid: str, status: str, placing: str, why: str) -> bool | None:
        self.told.append(("placed", sid, status, placing, why))
        return self.is_news

    async def _machine(self, sid: str, verdict: str, placing: str) -> None:
        self.told.append(("machine", sid, verdict, placing))

    def send(self, sid: str, message: inputs.CallOver) -> None:
        self.told.append(("sent", sid, message))

    def bill(self, sid: str, status: str, seconds: int) -> None:
        self.told.append(("billed", sid, status, seconds))

    def find(self, sid: str) -> Any:
        return self.entry

    def live(self, *, ending: str | None = None, has_session: bool = True) -> None:
        session = SimpleNamespace(note=lambda event: self.told.append(("noted", event)))
        self.entry = SimpleNamespace(ending=ending, session=session if has_session else None)

    async def status(self, **form: str) -> list[tuple[Any, ...]]:
        answer = await self.callbacks.status({"CallSid": SID, **form}, "https://h")
        assert answer.status_code == 204
        return self.told

    async def trouble(self, code: str, stream: str = "MZ1", sid: str = SID) -> None:
        form = {
            "CallSid": sid,
            "StreamSid": stream,
            "StreamEvent": "stream-error",
            "StreamError": f"error {code}: broken",
        }
        assert (await self.callbacks.stream_status(form, "https://h")).status_code == 204


PLACED = ("placed", SID, "completed", "an-id", "")


@pytest.mark.parametrize(
    ("form", "told"),
    [
        ({"CallStatus": "ringing"}, [("placed", SID, "ringing", "", "")]),
        (
            {"CallStatus": "completed", "CallDuration": "61", "placing": "an-id"},
            [PLACED, ("sent", SID, OVER), ("billed", SID, "completed", 61)],
        ),
        (
            {"CallStatus": "busy", "SipResponseCode": "486"},
            [
                ("placed", SID, "busy", "", "SIP 486"),
                ("sent", SID, OVER),
                ("billed", SID, "busy", 0),
            ],
        ),
        ({}, [("placed", SID, "", "", "")]),
        (
            {"person": "a-person", "CallStatus": "completed"},
            [("person", "a-person", SID, "completed")],
        ),
    ],
    ids=["not over", "over", "never answered", "without a status", "a person's leg"],
)
async def test_a_status_is_passed_on(form: dict[str, str], told: list[tuple[Any, ...]]) -> None:
    assert await Told().status(**form) == told


async def test_a_repeated_end_of_a_placed_call_is_billed_and_ends_nothing_again() -> None:
    again = Told(is_news=False)
    assert await again.status(CallStatus="completed", CallDuration="5", placing="an-id") == [
        PLACED,
        ("billed", SID, "completed", 5),
    ]


@pytest.mark.parametrize("is_news", [None, True])
async def test_the_end_of_a_call_that_was_not_placed_ends_it(is_news: bool | None) -> None:
    ends = [("sent", SID, OVER), ("billed", SID, "completed", 0)]
    assert (await Told(is_news=is_news).status(CallStatus="completed"))[1:] == ends
    assert await Told(places=False).status(CallStatus="completed") == ends


async def test_who_has_answered_is_told_to_placed_calls_alone() -> None:
    form = {"CallSid": SID, "AnsweredBy": "machine_start", "placing": "an-id"}
    for told in (Told(), Told(places=False)):
        assert (await told.callbacks.answered_by(form, "https://h")).status_code == 204
        assert told.told in ([("machine", SID, "machine_start", "an-id")], [])
        assert bool(told.told) is (told.callbacks._placing is not None)


async def test_a_stream_error_is_noted_in_its_call_once_for_each_stream() -> None:
    told = Told()
    told.live()
    for code, stream in (("31920", "MZ1"), ("31920", "MZ1"), ("31920", "MZ2"), ("31924", "MZ2")):
        await told.trouble(code, stream)
    noted = [event for _, event in told.told]
    assert [event.code for event in noted] == ["31920", "31920", "31924"]
    assert all(isinstance(event, StreamTrouble) for event in noted)


async def test_a_stream_that_we_have_closed_is_no_trouble() -> None:
    told = Told()
    told.live(ending="caller_hung_up")
    await told.trouble("31921")
    assert told.told == []
    await told.trouble("31920")
    assert len(told.told) == 1, "another error is, also then"


@pytest.mark.parametrize("is_known", [False, True], ids=["unknown", "over"])
async def test_trouble_of_a_call_without_a_session_is_logged(
    is_known: bool, caplog: pytest.LogCaptureFixture
) -> None:
    told = Told()
    if is_known:
        told.live(has_session=False)
    await told.trouble("31920")
    assert told.told == []
    (record,) = caplog.records
    assert record.getMessage().startswith("stream error 31920: ")
    assert vars(record)["call_sid"] == SID


async def test_errors_that_are_kept_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callbacks, "TROUBLES_MAX", 2)
    told = Told()
    told.live()
    for stream in ("MZ1", "MZ2", "MZ3", "MZ3", "MZ1"):
        await told.trouble("31920", stream)
    assert len(told.told) == 4, "the oldest is told again, as it was forgotten"
    assert len(told.callbacks._troubles) == 2


async def test_another_event_of_a_stream_is_taken_and_a_question_who_answers_is_answered() -> None:
    told = Told()
    for event in ("stream-started", "stream-stopped", ""):
        form = {"CallSid": SID, "StreamEvent": event}
        answer = await told.callbacks.stream_status(form, "https://h")
        assert (answer.status_code, told.told) == (204, [])
        assert process_proof.HEADER not in answer.headers
    form = {"CallSid": SID, "StreamEvent": process_proof.EVENT}
    answer = await told.callbacks.stream_status(form, "https://h")
    assert answer.headers[process_proof.HEADER] == process_proof.proof("a-process", SID)
