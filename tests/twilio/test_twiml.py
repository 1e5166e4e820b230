"""The documents that Twilio gets, as it parses them."""

import ast
import inspect
import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.sources import syntax_tree
from twilio.twiml import TwiML
from twilio.twiml.voice_response import VoiceResponse

from offhook.calls import responses
from offhook.config import Agent, Announcement, Busy, Fallback, Voicemail
from offhook.deepgram import settings
from offhook.twilio import twiml

AFTER = "https://voice.example.com/twilio/after"
ACTION = AFTER + "#rc=5&rp=ct,rt,5xx"
STREAM = "wss://voice.example.com/twilio"
STATUS = "https://voice.example.com/twilio/stream-status"
HOSTILE = "</Say><Dial>+1900</Dial><!-- &amp; \"'<![CDATA[ é 🙂 ]]>"

NO_WORDS = Fallback(say=None)


def an_agent(**parts: Any) -> Agent:
    return Agent(settings=settings.tutorial()[0], **parts)


def verbs(document: str) -> list[tuple[str, dict[str, str], str]]:
    """Name, attributes and text of each verb, in order."""
    root = parsed(document)
    return [(verb.tag, dict(verb.attrib), verb.text or "") for verb in root]


def parsed(document: str) -> ElementTree.Element:
    assert document.startswith('<?xml version="1.0" encoding="UTF-8"?>')
    root = ElementTree.fromstring(document.encode())
    assert root.tag == "Response"
    return root


def connect(**parts: Any) -> str:
    given: dict[str, Any] = {
        "stream_url": STREAM,
        "after_url": AFTER,
        "stream_status_url": STATUS,
        "token": "k3v",
        "announcement": None,
        "apology": None,
    }
    agent = an_agent(announcement=(given | parts)["announcement"])
    spoken = {
        "announcement": responses.announced((given | parts)["announcement"]),
        "apology": responses.spoken(agent, (given | parts)["apology"]),
    }
    return twiml.connect(**(given | parts | spoken))


# --- Answering -----------------------------------------------------------------------------------


def test_the_stream_carries_the_token_and_everything_comes_back_to_us() -> None:
    root = parsed(connect())
    [verb] = root
    assert (verb.tag, verb.attrib) == ("Connect", {"action": ACTION, "method": "POST"})
    [stream] = verb
    assert (stream.tag, stream.attrib) == (
        "Stream",
        {"url": STREAM, "statusCallback": STATUS + twiml.RETRIES},
    )
    [parameter] = stream
    assert (parameter.tag, parameter.attrib) == ("Parameter", {"name": "token", "value": "k3v"})


def test_the_announcement_comes_first_and_the_apology_last() -> None:
    announcement = Announcement(say="This call is recorded.", language="en-GB", voice="Polly.Amy")
    manner = {"language": "en-GB", "voice": "Polly.Amy"}
    assert verbs(connect(announcement=announcement, apology="We are sorry.")) == [
        ("Say", manner, "This call is recorded."),
        ("Connect", {"action": ACTION, "method": "POST"}, ""),
        ("Say", manner, "We are sorry."),
        ("Hangup", {}, ""),
    ]


def test_an_announcement_without_manner_leaves_it_to_the_account() -> None:
    assert verbs(connect(announcement=Announcement(say="Hello.")))[0] == ("Say", {}, "Hello.")


def test_a_twiml_bin_holds_a_stream_alone() -> None:
    document = connect(after_url=None, stream_status_url=None, token=None)
    [verb] = parsed(document)
    assert (verb.tag, verb.attrib) == ("Connect", {})
    [stream] = verb
    assert (stream.attrib, list(stream)) == ({"url": STREAM}, [])


# --- Not answering, and ending ---------------------------------------------------------------


def test_the_shortest_documents() -> None:
    assert verbs(twiml.hang_up()) == [("Hangup", {}, "")]
    assert verbs(twiml.reject()) == [("Reject", {"reason": "rejected"}, "")]
    assert verbs(twiml.nothing()) == []


DIAL = {"action": ACTION, "method": "POST", "timeout": "30", "answerOnBridge": "true"}
RECORD = {
    "action": ACTION,
    "method": "POST",
    "maxLength": "90",
    "playBeep": "true",
    "trim": "do-not-trim",
}


def test_the_fallback_says_sorry_and_hangs_up() -> None:
    agent = an_agent(fallback=Fallback(say="Sorry."), announcement="Hello.")
    assert verbs(responses.fallback(agent, AFTER)) == [("Say", {}, "Sorry."), ("Hangup", {}, "")]
    assert verbs(responses.fallback(an_agent(fallback=NO_WORDS), AFTER)) == [("Hangup", {}, "")]


def test_the_fallback_speaks_as_the_announcement_does() -> None:
    announcement = Announcement(say="Guten Tag.", language="de-DE", voice="Polly.Vicki")
    agent = an_agent(fallback=Fallback(say="Leider."), announcement=announcement)
    manner = {"language": "de-DE", "voice": "Polly.Vicki"}
    assert verbs(responses.fallback(agent, AFTER))[0] == ("Say", manner, "Leider.")
    assert verbs(responses.apology(agent))[0] == ("Say", manner, "Leider.")


@pytest.mark.parametrize(
    ("destination", "noun"),
    [
        ("+15005550006", "Number"),
        ("sip:desk@pbx.example.com;transport=tls?x=1&y=2", "Sip"),
        ("sips:desk@pbx.example.com", "Sip"),
    ],
)
def test_the_fallback_dials(destination: str, noun: str) -> None:
    agent = an_agent(fallback=Fallback(say="One moment.", dial=destination))
    document = responses.fallback(agent, AFTER)
    assert verbs(document) == [("Say", {}, "One moment."), ("Dial", DIAL, "")]
    [called] = parsed(document)[1]
    assert (called.tag, called.attrib, called.text) == (noun, {}, destination)


def test_the_fallback_takes_a_message() -> None:
    voicemail = Voicemail(say="After the tone.", max_seconds=90)
    agent = an_agent(fallback=Fallback(say="Sorry.", voicemail=voicemail))
    assert verbs(responses.fallback(agent, AFTER)) == [
        ("Say", {}, "Sorry."),
        ("Say", {}, "After the tone."),
        ("Record", RECORD, ""),
        ("Hangup", {}, ""),  # Twilio goes on here when nothing was recorded
    ]


def test_a_server_at_capacity_rejects_dials_or_says_so() -> None:
    assert verbs(responses.busy(an_agent(busy=Busy(reject=True)), AFTER)) == [
        ("Reject", {"reason": "busy"}, "")
    ]
    document = responses.busy(an_agent(busy=Busy(dial="+15005550006")), AFTER)
    assert verbs(document) == [("Dial", DIAL, "")]
    assert [noun.text for noun in parsed(document)[0]] == ["+15005550006"]
    voicemail = Voicemail(say="We are busy. After the tone.", max_seconds=90)
    assert verbs(responses.busy(an_agent(busy=Busy(voicemail=voicemail)), AFTER)) == [
        ("Say", {}, "We are busy. After the tone."),
        ("Record", RECORD, ""),
        ("Hangup", {}, ""),
    ]
    assert verbs(responses.busy(an_agent(busy=Busy(say="Full.")), AFTER)) == [
        ("Say", {}, "Full."),
        ("Hangup", {}, ""),
    ]


def test_nobody_answered_the_number_dialled_instead() -> None:
    agent = an_agent(fallback=Fallback(say="Sorry.", dial="+15005550006"))
    assert verbs(responses.apology(agent)) == [("Say", {}, "Sorry."), ("Hangup", {}, "")]
    silent = an_agent(fallback=Fallback(say=None, dial="+15005550006"))
    assert verbs(responses.apology(silent)) == [("Hangup", {}, "")]


# --- What holds for all of them -----------------------------------------------------------------


def every_document() -> Iterator[str]:
    """Each function with each combination of what it may be given."""
    announcements = (None, Announcement(say="Hello."))
    for after, status, token, announcement, apology in product(
        (None, AFTER), (None, STATUS), (None, "k3v"), announcements, (None, "Sorry.")
    ):
        yield connect(
            after_url=after,
            stream_status_url=status,
            token=token,
            announcement=announcement,
            apology=apology,
        )
    onwards: tuple[dict[str, Any], ...] = (
        {},
        {"dial": "+15005550006"},
        {"dial": "sip:a@b"},
        {"voicemail": Voicemail()},
    )
    for say, onward, announcement in product((None, "Sorry."), onwards, announcements):
        agent = an_agent(fallback=Fallback(say=say, **onward), announcement=announcement)
        yield responses.fallback(agent, AFTER)
        yield responses.apology(agent)
    for busy in (
        Busy(say="Full."),
        Busy(reject=True),
        Busy(dial="+15005550006"),
        Busy(voicemail=Voicemail()),
    ):
        yield responses.busy(an_agent(busy=busy), AFTER)
    yield twiml.hang_up()
    yield twiml.reject()


def test_none_leaves_a_silent_line() -> None:
    for document in every_document():
        *before, last = verbs(document)
        assert last[0] in ("Hangup", "Reject", "Dial", "Connect"), document
        # What follows a Dial with an action, a Reject or a Hangup would never run.
        assert not {"Dial", "Hangup", "Reject"} & {name for name, _, _ in before}, document


def test_twilio_retries_every_request_to_an_address_in_a_document() -> None:
    """All but the stream's own, whose upgrade is not a webhook (twilio.md §4.2)."""
    addresses = []
    more = (twiml.wait_in("c", AFTER), twiml.whisper(twiml.Speech, "About.", AFTER))
    for document in (*every_document(), *more):
        for verb in parsed(document).iter():
            given = [verb.attrib.get(name) for name in ("action", "statusCallback")]
            given += [verb.text] if verb.tag == "Redirect" else []
            addresses += [(verb.tag, url) for url in given if url is not None]
            if verb.tag == "Stream":
                assert verb.attrib["url"] == STREAM
    assert {url for _, url in addresses} == {ACTION, STATUS + twiml.RETRIES}
    assert {tag for tag, _ in addresses} == {
        "Connect", "Stream", "Dial", "Record", "Gather", "Redirect",
    }  # fmt: skip


ADDRESSES = ("status_callback", "url", "callback")


def test_twilio_retries_every_request_to_an_address_given_by_rest() -> None:
    found = []
    for path in Path("src/offhook").rglob("*.py"):
        if "testing" in path.parts:
            continue
        for node in ast.walk(syntax_tree(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name):
                name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                if name in ("create_call", "update_call", "send_message", "MachineDetection"):
                    given = [one.value for one in node.keywords if one.arg in ADDRESSES]
                    given += node.args[1:] if name == "MachineDetection" else []
                    found += [(path.name, ast.unparse(one)) for one in given]
    for file, source in found:
        assert source.startswith("twiml.retried("), file
    files = {"call_updates.py", "transfers.py", "outbound_calls.py"}
    assert {file for file, _ in found} == files


def test_hostile_text_stays_text() -> None:
    announcement = Announcement(say=HOSTILE, language='en"/>', voice="<b>")
    for document in (
        connect(announcement=announcement, apology=HOSTILE, token='"/><Hangup/>', after_url="a&b"),
        responses.fallback(
            an_agent(fallback=Fallback(say=HOSTILE, voicemail=Voicemail(say=HOSTILE))), "a&b<"
        ),
        responses.busy(an_agent(busy=Busy(say=HOSTILE)), AFTER),
    ):
        said = [text for name, _, text in verbs(document) if name == "Say"]
        assert said
        assert set(said) == {HOSTILE}
        assert "Dial" not in {name for name, _, _ in verbs(document)}
    [stream] = parsed(connect(token='"/><Hangup/>'))[0]
    assert stream[0].attrib["value"] == '"/><Hangup/>'


XML_TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc"], exclude_characters="\ufffe\uffff"),
    min_size=1,
)


@hypothesis.settings(deadline=None)
@given(XML_TEXT)
def test_what_is_said_is_what_was_configured(text: str) -> None:
    assert verbs(responses.busy(an_agent(busy=Busy(say=text)), AFTER))[0] == ("Say", {}, text)


# --- Twilio's own builder as the oracle ----------------------------------------------------------


def by_twilios_builder(document: str) -> str:
    """The same document made by Twilio's builder, which knows verbs, their nouns and attributes."""
    made = VoiceResponse()
    _build(made, parsed(document))
    text: str = made.to_xml()
    return text


def _build(made: TwiML, element: ElementTree.Element) -> None:
    for child in element:
        method = getattr(made, _snake(child.tag))
        given = {_snake(name): value for name, value in child.attrib.items()}
        unknown = given.keys() - inspect.signature(method).parameters.keys()
        assert not unknown, f"<{child.tag}> has no {unknown}"
        _build(method(*filter(None, [child.text]), **given), child)


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])([A-Z])", r"_\1", name).lower()


SPEECH = twiml.Speech(HOSTILE, "en-GB", "Polly.Amy")

DOCUMENTS = {
    "connect": [
        twiml.connect(
            stream_url=STREAM,
            after_url=after,
            stream_status_url=status,
            token=token,
            announcement=speech,
            apology=speech,
            keys=keys,
        )
        for after, status, token, speech, keys in product(
            (None, AFTER), (None, STATUS), (None, '"/>'), (None, SPEECH), ("", "ww1#")
        )
    ],
    "dial": [
        twiml.dial(where, after, say=speech, timeout_s=7, caller_id=caller_id)
        for where, after, speech, caller_id in product(
            ("+15005550006", "sip:a@b?x=1&y=2"),
            (None, AFTER),
            (None, SPEECH),
            (None, "+15005550001"),
        )
    ],
    "record": [
        twiml.record(*prompts, max_seconds=90, after_url=AFTER)
        for prompts in ((), (None,), (SPEECH, twiml.Speech("After the tone.")))
    ],
    "wait_in": [twiml.wait_in("Conference & co", AFTER)],
    "whisper": [twiml.whisper(twiml.Speech, about, AFTER) for about in ("", HOSTILE, "x" * 5000)],
    "ask_again": [twiml.ask_again(AFTER, 2)],
    "hang_up": [twiml.hang_up(), twiml.hang_up(SPEECH), twiml.hang_up(twiml.Speech(""))],
    "reject": [twiml.reject(), twiml.reject("busy")],
    "nothing": [twiml.nothing()],
}
"""Documents of each function that makes one, with everything that it may be given."""


def test_every_document_is_the_one_that_twilios_builder_makes() -> None:
    makers = {
        name
        for name, function in inspect.getmembers(twiml, inspect.isfunction)
        if function.__module__ == twiml.__name__ and not name.startswith("_")
    }
    assert DOCUMENTS.keys() == makers - {"retried"}
    documents = [*every_document(), *(each for made in DOCUMENTS.values() for each in made)]
    for document in documents:
        oracle = by_twilios_builder(document)
        assert ElementTree.canonicalize(document) == ElementTree.canonicalize(oracle)


def test_the_oracle_refuses_what_twilios_builder_does_not_know() -> None:
    begin = '<?xml version="1.0" encoding="UTF-8"?><Response>'
    with pytest.raises(AssertionError, match="answer_on_brige"):
        by_twilios_builder(f'{begin}<Dial answerOnBrige="true"/></Response>')
    with pytest.raises(AttributeError, match="stream"):
        by_twilios_builder(f"{begin}<Stream/></Response>")


def asked(summary: str) -> twiml.Speech:
    about = f" It is about: {summary}" if summary else ""
    return twiml.Speech(f"A caller would like to talk with you.{about} Press 1 to take the call.")


@pytest.mark.parametrize("summary", ["x" * 1872, "&" * 400, "& it rains. " * 160, "é🙂<" * 600])
def test_what_a_person_is_told_is_cut_to_what_a_request_may_hold(summary: str) -> None:
    document = twiml.whisper(asked, summary, AFTER)
    assert twiml.TWIML_MAX - 40 <= len(document) <= twiml.TWIML_MAX
    first, _, second, _ = parsed(document)[0]
    assert first.text == second.text
    said, _, end = (first.text or "").partition("It is about: ")[2].partition(" …")
    assert summary.startswith(said)
    assert end == " Press 1 to take the call."


@hypothesis.settings(max_examples=200, deadline=None)
@given(st.text(st.characters(), max_size=2500))
def test_whatever_it_is_about_can_be_sent(summary: str) -> None:
    document = twiml.whisper(asked, summary, AFTER)
    parsed(document)
    assert len(document) <= twiml.TWIML_MAX


def test_what_no_document_may_hold_is_left_out() -> None:
    document = twiml.whisper(asked, "a\x00b \ud83d \ud83d\ude00 \uffff", AFTER)
    assert "a b \ufffd \U0001f600  " in (parsed(document)[0][0].text or "")
