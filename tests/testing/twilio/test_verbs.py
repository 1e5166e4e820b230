"""TwiML as the simulated Twilio reads it."""

import pytest

from offhook.testing.simulator.twilio import verbs
from offhook.testing.simulator.twilio.verbs import MalformedTwimlError, Verb

XML = "text/xml; charset=utf-8"


def read(inside: str) -> tuple[list[Verb], list[str]]:
    return verbs.read(f"<Response>{inside}</Response>".encode(), XML)


def test_verbs_come_in_order_with_their_nouns() -> None:
    verbs, warnings = read(
        "<Say voice='alice'>Calls are <emphasis>recorded</emphasis>.</Say>"
        "<Connect action='/after'><Stream url='wss://h/twilio'>"
        "<Parameter name='token' value='k&amp;v'/></Stream></Connect>"
        "<Dial callerId='+1'><Number sendDigits='1'>+12</Number></Dial><Hangup/>"
    )
    assert [verb.name for verb in verbs] == ["Say", "Connect", "Dial", "Hangup"]
    assert verbs[0].text == "Calls are recorded."
    parameter = Verb("Parameter", {"name": "token", "value": "k&v"}, "", ())
    assert verbs[1].nouns == (Verb("Stream", {"url": "wss://h/twilio"}, "", (parameter,)),)
    assert verbs[2].nouns == (Verb("Number", {"sendDigits": "1"}, "+12", ()),)
    assert warnings == []


@pytest.mark.parametrize(
    ("inside", "warning"),
    [
        ("<say>hi</say>", "<say> in <Response> is ignored"),
        ("<Stream url='wss://h'/>", "<Stream> in <Response> is ignored"),
        ("<Connect><Room>r</Room></Connect>", "<Room> in <Connect> is ignored"),
        ("<Connect><Stream URL='x'/></Connect>", "attribute URL of <Stream> is ignored"),
        ("<Hangup now='1'/>", "attribute now of <Hangup> is ignored"),
    ],
)
def test_what_is_misspelt_is_ignored_with_a_warning(inside: str, warning: str) -> None:
    assert read(inside)[1] == [warning]


def test_plain_text_may_be_a_document_and_is_read_aloud_when_it_is_none() -> None:
    (hangup,), warnings = verbs.read(b"<Response><Hangup/></Response>", "text/plain; charset=utf-8")
    assert (hangup.name, warnings) == ("Hangup", [])
    (said,), warnings = verbs.read(b"We are closed.\n", "text/plain")
    assert (said.name, said.text, warnings) == ("Say", "We are closed.", [])
    (played,), warnings = verbs.read(b"RIFF", "audio/wav")
    assert (played.name, warnings) == ("Play", [])


@pytest.mark.parametrize(
    ("body", "content_type", "code"),
    [
        (b"<Response/>", None, 12300),
        (b"<Response/>", "application/json", 12300),
        (b"<Response><Say></Response>", "text/plain", 12100),
        (b"", XML, 12100),
        (b"<Response>", XML, 12100),
        (b"<html/>", "text/html", 12100),
        (b"<Response>" + b" " * verbs.MAX_BYTES + b"</Response>", XML, 11750),
    ],
)
def test_what_is_no_document_is_refused(body: bytes, content_type: str | None, code: int) -> None:
    with pytest.raises(MalformedTwimlError) as bad:
        verbs.read(body, content_type)
    assert bad.value.code == code
