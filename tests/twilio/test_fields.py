"""One signature stands for one meaning: whatever else a signed text is cut into is refused."""

from collections.abc import Iterator

import pytest

from offhook.twilio.fields import MisreadFieldError, read
from offhook.twilio.signature import in_order

CALL, ACCOUNT, PARENT = "CA" + "1" * 32, "AC" + "a" * 32, "CA" + "2b" * 16
VOICE = {
    "AccountSid": ACCOUNT,
    "ApiVersion": "2010-04-01",
    "CallSid": CALL,
    "CallStatus": "ringing",
    "CallToken": "%7B%22parentCallInfoToken%22%3A%22eyJhbGciOiJFUzI1NiJ9.eyJjYWxsU2lkIjoi%22%7D",
    "Called": "+12025550100",
    "CalledCity": "WASHINGTON",
    "Caller": "+12025550142",
    "Direction": "inbound",
    "ForwardedFrom": "+12025550177",
    "From": "+12025550142",
    "FromCity": "",
    "FromZip": "20001",
    "StirVerstat": "TN-Validation-Passed-A",
    "To": "+12025550100",
    "ToCity": "WASHINGTON",
}
LEAST = {"AccountSid": ACCOUNT, "CallSid": CALL, "From": "+12025550142", "To": "+12025550100"}
CHILD = {**VOICE, "ParentCallSid": PARENT, "Direction": "outbound-dial"}
AFTER = {
    "AccountSid": ACCOUNT,
    "CallSid": CALL,
    "CallStatus": "in-progress",
    "DialBridged": "true",
    "DialCallDuration": "61",
    "DialCallSid": PARENT,
    "DialCallStatus": "completed",
    "Direction": "inbound",
    "From": "+12025550142",
    "To": "+12025550100",
}
STATUS = {
    "AccountSid": ACCOUNT,
    "CallDuration": "61",
    "CallSid": CALL,
    "CallStatus": "completed",
    "Duration": "2",
    "SipResponseCode": "200",
    "Timestamp": "Sun, 29 Nov 2026 02:16:45 +0000",
    "To": "+12025550100",
}
NAMES = {
    "voice": ("From", "StirVerstat", "To"),
    "after": (
        "CallStatus",
        "DialCallStatus",
        "Digits",
        "Direction",
        "From",
        "RecordingSid",
        "RecordingUrl",
        "To",
    ),
    "status": ("CallDuration", "CallStatus", "SipResponseCode"),
}
Fields = list[tuple[str, str]]


def text(fields: Fields) -> str:
    return "".join(name + value for name, value in in_order(fields))


def cut(form: dict[str, str], *pieces: tuple[str, str]) -> Fields:
    """Other fields with the same signed text. Fails if it is another."""
    fields = list(pieces)
    assert text(fields) == text(list(form.items()))
    return fields


def between(form: dict[str, str], begin: str, end: str = "") -> str:
    """What stands in the signed text from `begin` to `end`, which follows it."""
    whole = text(list(form.items()))
    at = whole.index(begin)
    return whole[at : whole.index(end, at + 1) if end else None]


@pytest.mark.parametrize("form", [VOICE, CHILD], ids=["a call", "a child's call"])
def test_a_request_of_twilios_is_read(form: dict[str, str]) -> None:
    expected = {n: form[n] for n in ("CallSid", "AccountSid", "From", "StirVerstat", "To")}
    assert read("/twilio/voice", form.items(), NAMES["voice"]) == expected


@pytest.mark.parametrize(
    "sender", ["anonymous", "", "client:alice", "sip:bob@example.com", "86753"]
)
def test_who_calls_need_not_have_a_number(sender: str) -> None:
    form = {**VOICE, "From": sender, "Caller": sender}
    assert read("/twilio/voice", form.items(), NAMES["voice"])["From"] == sender


@pytest.mark.parametrize("verdict", ["No-TN-Validation", "NULL", "", "a word of next year's"])
def test_a_verdict_on_the_caller_may_have_any_words(verdict: str) -> None:
    form = {**VOICE, "StirVerstat": verdict}
    assert read("/twilio/voice", form.items(), NAMES["voice"])["StirVerstat"] == verdict


def test_names_that_end_like_others_are_passed_over() -> None:
    form = {**VOICE, "SipHeader_X-Original-To": "+12025550111", "SipHeader_From": "+12025550112"}
    assert read("/p", form.items(), NAMES["voice"])["To"] == VOICE["To"]
    dialled = read("/p", AFTER.items(), NAMES["after"])
    assert (dialled["CallSid"], dialled["DialCallStatus"]) == (CALL, "completed")
    assert read("/p", {**AFTER, "Digits": "hangup"}.items(), NAMES["after"])["Digits"] == "hangup"
    assert read("/p", STATUS.items(), NAMES["status"])["CallDuration"] == "61"


REST = between(VOICE, "CallSid" + CALL).removeprefix("CallSid" + CALL)
BEFORE_CALL = ("AccountSid", ACCOUNT), ("ApiVersion", "2010-04-01")
VARIANTS: dict[str, Fields] = {
    "a CallSid that swallows all that follows": cut(VOICE, *BEFORE_CALL, ("CallSid", CALL + REST)),
    "a CallSid with one character more": cut(
        VOICE, *BEFORE_CALL, ("CallSid", CALL + REST[0]), (REST[1:], "")
    ),
    "no CallSid": cut(VOICE, *BEFORE_CALL, ("CallSi", "d" + CALL + REST)),
    "an AccountSid that swallows the CallSid": cut(VOICE, ("AccountSid", between(VOICE, ACCOUNT))),
    "no AccountSid": cut(
        VOICE, ("A", "ccountSid" + ACCOUNT + "ApiVersion2010-04-01"), ("CallSid", CALL + REST)
    ),
    "the CallSid of the parent": cut(
        CHILD,
        *BEFORE_CALL,
        ("C", "allSid" + CALL + between(CHILD, "CallStatus", "ParentCallSid")),
        ("ParentCallSid", PARENT),
        ("StirVerstat", "TN-Validation-Passed-A"),
        ("To", "+12025550100"),
        ("ToCity", "WASHINGTON"),
    ),
    "the parent as the call": cut(
        CHILD,
        ("AccountSid", ACCOUNT),
        ("ApiVersion2010-04-01CallSid", CALL),
        ("CallS", between(CHILD, "tatusringing", "CallSid" + PARENT)),
        ("CallSid", PARENT),
        ("StirVerstat", "TN-Validation-Passed-A"),
        ("To", "+12025550100"),
        ("ToCity", "WASHINGTON"),
    ),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_signed_text_that_is_cut_into_other_fields_is_refused(variant: str) -> None:
    with pytest.raises(MisreadFieldError):
        read("/twilio/voice", VARIANTS[variant], NAMES["voice"])


def test_a_part_of_the_url_is_no_field_and_no_field_is_a_part_of_the_url() -> None:
    query = "?placing=abc"
    fields = [("?placing=", "abc"), *STATUS.items()]
    assert text(fields) == query + text(list(STATUS.items()))
    with pytest.raises(MisreadFieldError, match="URL"):
        read("/twilio/status", fields, NAMES["status"])
    swallowed = "/twilio/status" + query + "AccountSid" + ACCOUNT
    rest = [(name, value) for name, value in STATUS.items() if name != "AccountSid"]
    with pytest.raises(MisreadFieldError, match="AccountSid is missing"):
        read(swallowed, rest, NAMES["status"])


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"CallSid": "CA1"}, "CallSid has another shape"),
        ({"CallSid": "CA" + "g" * 32}, "CallSid has another shape"),
        ({"CallSid": CALL + "\n"}, "CallSid has another shape"),
        ({"CallSid": ""}, "CallSid has another shape"),
        ({"AccountSid": "AC1"}, "AccountSid has another shape"),
        ({"From": "+1202555\n"}, "From has another shape"),
        ({"To": "x" * 257}, "To has another shape"),
    ],
)
def test_a_misshapen_field_is_refused_by_name(wrong: dict[str, str], words: str) -> None:
    with pytest.raises(MisreadFieldError, match=f"^{words}$"):
        read("/p", {**VOICE, **wrong}.items(), NAMES["voice"])


def test_a_field_that_is_read_is_there_once() -> None:
    with pytest.raises(MisreadFieldError, match="To is there twice"):
        read("/p", [*VOICE.items(), ("To", "+12025550999")], NAMES["voice"])
    again = [("To", VOICE["To"]), ("AddOns", "a"), ("AddOns", "b")]
    once = read("/p", [*VOICE.items(), *again], ["To"])
    assert once["To"] == VOICE["To"]


def cuts(whole: str, names: tuple[str, ...], from_: int = 0, before: str = "") -> Iterator[Fields]:
    """Ways to cut a signed text so that some of `names` are fields of it, in good order.

    What a forger has no use for stands in at most two fields between them, of which the names are
    as short as may be, or end like one of `names`.
    """
    if from_ == len(whole):
        yield []
        return
    for name in names:
        if whole.startswith(name, from_) and before < name:
            yield from known(whole, names, from_, name)
    for end in range(from_ + 1, len(whole) + 1):
        follows = [name for name in names if whole.startswith(name, end)]
        if follows or end == len(whole):
            for fillers in filled(whole[from_:end], before):
                yield from ([*fillers] for _ in range(end == len(whole)))
                for name in follows:
                    if fillers[-1][0] < name:
                        for rest in known(whole, names, end, name):
                            yield [*fillers, *rest]


def filled(gap: str, before: str) -> Iterator[Fields]:
    for name in sizes(gap, before):
        yield [(name, gap[len(name) :])]
    for at in range(max(1, len(gap) - 60), len(gap)):
        for second in sizes(gap[at:], before):
            if second.endswith(READ):
                for first in sizes(gap[:at], before):
                    if first < second:
                        yield [(first, gap[len(first) : at]), (second, gap[at + len(second) :])]


def sizes(gap: str, before: str) -> Iterator[str]:
    """Names that may stand at the begin of a gap: the shortest, and those that end in a known."""
    fitting = [gap[:n] for n in range(1, len(gap) + 1) if before < gap[:n]]
    yield from fitting[:1]
    yield from (name for name in fitting[1:] if name.endswith(READ))


def known(whole: str, names: tuple[str, ...], at: int, name: str) -> Iterator[Fields]:
    begin = at + len(name)
    left = tuple(other for other in names if other > name)
    value = {"CallSid": 34, "AccountSid": 34, "From": 12, "To": 12}.get(name)
    for length in [value] if value else range(min(12, len(whole) - begin) + 1):
        for rest in cuts(whole, left, begin + length, name):
            yield [(name, whole[begin : begin + length]), *rest]


READ = ("CallSid", "AccountSid", "From", "To", "CallStatus", "CallDuration", "SipResponseCode")
SHORT = {
    "AccountSid": ACCOUNT,
    "CallSid": CALL,
    "Direction": "inbound",
    "ForwardedFrom": "+12025550177",
    "From": "+12025550142",
    "SipHeader_To": "+12025550111",
    "To": "+12025550100",
}


@pytest.mark.parametrize(
    ("form", "door"),
    [
        (SHORT, "voice"),
        ({**SHORT, "ParentCallSid": PARENT}, "voice"),
        (LEAST, "voice"),
        (STATUS, "status"),
    ],
    ids=["a call", "a child's call", "the least", "a status"],
)
def test_every_way_to_cut_a_request_is_refused_or_means_the_same(
    form: dict[str, str], door: str
) -> None:
    whole = text(list(form.items()))
    names = tuple(sorted(("AccountSid", "CallSid", *NAMES[door])))
    meant = read("/p", form.items(), NAMES[door])
    tried = accepted = 0
    for fields in cuts(whole, names):
        if text(fields) != whole:
            continue
        tried += 1
        try:
            assert read("/p", fields, NAMES[door]) == meant
            accepted += 1
        except MisreadFieldError:
            pass
    assert tried >= 20
    assert 0 < accepted < tried
