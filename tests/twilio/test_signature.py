"""Signatures: Twilio's own examples, every way in which a URL may be told, and forgeries."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from twilio.request_validator import RequestValidator

from offhook.twilio.signature import (
    Signatures,
    UnknownKeyError,
    settings_of,
    sign,
    sign_with_key,
)

TOKEN = "12345"
SIGNATURES = Signatures([TOKEN])

FORM = [
    ("CallSid", "CA1234567890ABCDE"),
    ("Caller", "+14158675310"),
    ("Digits", "1234"),
    ("From", "+14158675310"),
    ("To", "+18005551212"),
]
OTHER_FORM = [
    (name, value.replace("5310", "5309") if name in ("Caller", "From") else value)
    for name, value in FORM
]
VOICE = "/twilio/voice?CallSid=CA00000000000000000000000000000001&From=%2B15005550006"


class Repeated(dict[str, list[str]]):
    """A form as Twilio's code reads one in which names are repeated."""

    def __init__(self, fields: list[tuple[str, str]]) -> None:
        for name, value in fields:
            self.setdefault(name, []).append(value)

    def getall(self, name: str) -> list[str]:
        return self[name]


FORMS_OF_ALL = st.lists(
    st.tuples(
        st.text(st.characters(codec="utf-8"), max_size=3),
        st.text(st.characters(codec="utf-8"), max_size=4),
    ),
    max_size=8,
)

# --- The vectors of twilio.md §3.1 ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("origin", "target", "form", "signature"),
    [
        ("https://example.com", "/myapp.php?foo=1&bar=2", FORM, "L/OH5YylLD5NRKLltdqwSvS0BnU="),
        (
            "https://mycompany.com",
            "/myapp.php?foo=1&bar=2",
            OTHER_FORM,
            "RSOYDt4T1cUTdK1PDd93/VVr8B8=",
        ),
        (
            "https://mycompany.com:443",
            "/myapp.php?foo=1&bar=2",
            OTHER_FORM,
            "kvajT1Ptam85bY51eRf/AJRuM3w=",
        ),
        ("https://voice.example.com", VOICE, [], "VzGlcJl/eUXM1Wo53SrnFa9wqJM="),
    ],
    ids=["Twilio's documentation", "Twilio's tests", "with a port", "GET"],
)
def test_a_signed_webhook(
    origin: str, target: str, form: list[tuple[str, str]], signature: str
) -> None:
    assert SIGNATURES.webhook(origin, target, form, signature)
    assert sign(TOKEN, origin + target, form) == signature
    assert not SIGNATURES.webhook(origin, target, [*form, ("More", "")], signature)


def test_the_hash_in_the_url_of_a_json_webhook_is_part_of_what_is_signed() -> None:
    """Voice webhooks are forms. Were one JSON, its URL would be checked, and its body would not."""
    target = (
        "/myapp.php?foo=1&bar=2&bodySHA256="
        "0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620"
    )
    signature = "a9nBmqA0ju/hNViExpshrM61xv4="
    assert SIGNATURES.webhook("https://mycompany.com", target, [], signature)
    assert not SIGNATURES.webhook("https://mycompany.com", target[:-1] + "1", [], signature)


@pytest.mark.parametrize(
    "signature",
    [
        "PGLrn08/Ba1sEIuSwPQRBPD54PA=",
        "/l2QA+p8VR0Ejy/AIlzbV7YZXIA=",
        "EX6xiRCCL18BRNACNfLPbIXryf4=",
    ],
    ids=["bare", "with a slash", "with a port"],
)
@pytest.mark.parametrize("path", ["/twilio/media", "/twilio/media/", "/twilio/media?x=1"])
@pytest.mark.parametrize("origin", ["wss://voice.example.com", "wss://voice.example.com:443"])
def test_a_signed_upgrade(origin: str, path: str, signature: str) -> None:
    assert SIGNATURES.upgrade(origin, path, signature)
    assert not SIGNATURES.upgrade(origin.replace("wss", "https"), path, signature)
    assert not SIGNATURES.upgrade(origin, "/twilio/medi", signature)


def test_sign_makes_the_signatures_of_upgrades() -> None:
    url = "wss://voice.example.com/twilio/media"
    assert sign(TOKEN, url) == "PGLrn08/Ba1sEIuSwPQRBPD54PA="


# --- Forms -----------------------------------------------------------------------------------


def test_of_a_repeated_field_each_value_counts_once_in_order() -> None:
    """As Twilio's own validator has it: distinct values, sorted (twilio.md §3.1)."""
    signature = sign(TOKEN, "https://h/p", [("A", "1"), ("A", "2"), ("B", "3")])
    assert signature == sign(TOKEN, "https://h/pA1A2B3")
    for form in (
        [("A", "1"), ("A", "2"), ("B", "3")],
        [("B", "3"), ("A", "2"), ("A", "1"), ("A", "1")],
    ):
        assert SIGNATURES.webhook("https://h", "/p", form, signature)
    assert not SIGNATURES.webhook("https://h", "/p", [("A", "2"), ("B", "3")], signature)


def test_names_are_sorted_by_their_bytes_and_blanks_count() -> None:
    form = [("b", " x "), ("a", ""), ("Z", "é\n")]
    signature = sign(TOKEN, "https://h/pZé\nab x ")
    assert SIGNATURES.webhook("https://h", "/p", form, signature)
    assert not SIGNATURES.webhook("https://h", "/p", [("b", "x"), *form[1:]], signature)
    assert not SIGNATURES.webhook("https://h", "/p", [form[0], form[2]], signature)


def test_the_query_stays_as_it_was_sent() -> None:
    signature = sign(TOKEN, "https://h/p?From=%2B1")
    assert SIGNATURES.webhook("https://h", "/p?From=%2B1", [], signature)
    assert not SIGNATURES.webhook("https://h", "/p?From=%2b1", [], signature)
    assert not SIGNATURES.webhook("https://h", "/p?From=+1", [], signature)


@settings(deadline=None)
@given(FORMS_OF_ALL)
def test_signatures_are_those_of_twilios_own_code(form: list[tuple[str, str]]) -> None:
    url = "https://h/p?From=%2B1"
    assert sign(TOKEN, url, form) == RequestValidator(TOKEN).compute_signature(url, Repeated(form))


@settings(deadline=None)
@given(
    st.sampled_from(["https", "wss"]),
    st.sampled_from(["", ":443", ":8443"]),
    st.sampled_from(["", ":443", ":8443"]),
    st.sampled_from(["/twilio", "/twilio/voice", "/twilio/voice?CallSid=CA1&From=%2B1"]),
    FORMS_OF_ALL,
    st.booleans(),
)
def test_requests_are_valid_when_twilios_own_code_says_so(
    scheme: str, told: str, signed: str, target: str, form: list[tuple[str, str]], forged: bool
) -> None:
    """Twilio's code adds 80 to a wss URL without a port; a port of its own is the test's."""
    assume(scheme == "https" or told != "")
    signature = sign("another" if forged else TOKEN, f"{scheme}://h{signed}{target}", form)
    vendors = RequestValidator(TOKEN).validate(
        f"{scheme}://h{told}{target}", Repeated(form), signature
    )
    assert SIGNATURES.webhook(f"{scheme}://h{told}", target, form, signature) == vendors


# --- Tokens ----------------------------------------------------------------------------------


def test_any_token_will_do_while_one_is_being_rotated() -> None:
    rotating = Signatures(["old", "new"])
    for token in ("old", "new"):
        assert rotating.webhook("https://h", "/p", FORM, sign(token, "https://h/p", FORM))
        assert rotating.upgrade("wss://h", "/twilio", sign(token, "wss://h/twilio"))
    assert not rotating.webhook("https://h", "/p", FORM, sign("older", "https://h/p", FORM))


def test_without_a_token_nothing_is_signed() -> None:
    assert not Signatures([]).webhook("https://h", "/p", FORM, "")
    assert not Signatures([]).upgrade("wss://h", "/twilio", sign("", "wss://h/twilio"))


@pytest.mark.parametrize(
    "signature",
    ["", " ", "L/OH5YylLD5NRKLltdqwSvS0BnU", "l/oh5yylld5nrklltdqwsvs0bnu=", "é\u2028", "\ud800"],
    ids=["missing", "blank", "cut off", "lower case", "not ASCII", "not even Unicode"],
)
def test_a_wrong_signature_is_refused(signature: str) -> None:
    origin, target = "https://example.com", "/myapp.php?foo=1&bar=2"
    assert not SIGNATURES.webhook(origin, target, FORM, signature)
    assert not SIGNATURES.upgrade("wss://example.com", "/twilio", signature)


# --- Shared keys (twilio.md §3.6) ----------------------------------------------------------

KEYED = Signatures([TOKEN], {"key-1": "secret-1", "key-2": "secret-2"})


def test_a_shared_key_signs_the_same_text_with_sha256() -> None:
    url = "https://h/p?a=1"
    for key, secret in (("key-1", "secret-1"), ("key-2", "secret-2")):
        signature = sign_with_key(secret, url, FORM)
        vendors = RequestValidator(secret).compute_signature(url, dict(FORM), "HMAC_SHA256")
        assert signature == vendors
        assert KEYED.webhook("https://h", "/p?a=1", FORM, signature, settings_of(key))
    upgrade = sign_with_key("secret-1", "wss://h/twilio")
    assert KEYED.upgrade("wss://h", "/twilio", upgrade, "algorithm=HMAC_SHA256, key=key-1")


def test_both_schemes_are_good_side_by_side_and_neither_stands_for_the_other() -> None:
    by_token, by_key = (
        sign(TOKEN, "https://h/p", FORM),
        sign_with_key("secret-1", "https://h/p", FORM),
    )
    first, second = settings_of("key-1"), settings_of("key-2")
    assert KEYED.webhook("https://h", "/p", FORM, by_token)
    assert KEYED.webhook("https://h", "/p", FORM, by_key, first)
    for signature, its in (
        (by_token, first),
        (by_key, None),
        (by_key, second),
        (sign("secret-1", "https://h/p", FORM), first),
        (sign_with_key(TOKEN, "https://h/p", FORM), first),
        (sign_with_key(TOKEN, "https://h/p", FORM), None),
    ):
        assert not KEYED.webhook("https://h", "/p", FORM, signature, its)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("key=key-3,algorithm=HMAC_SHA256", "the key 'key-3' is not known"),
        ("key=key-1,algorithm=HMAC_SHA1", "the algorithm 'HMAC_SHA1' is not known"),
        ("key=key-1,algorithm=hmac_sha256", "the algorithm 'hmac_sha256' is not known"),
        ("", "'' is not key=…,algorithm=…"),
        ("key=key-1", "'key=key-1' is not key=…,algorithm=…"),
        ("algorithm=HMAC_SHA256", "is not key=…,algorithm=…"),
        ("key=key-1,algorithm=HMAC_SHA256,key=key-2", "is not key=…,algorithm=…"),
        ("key=key-1,algorithm=HMAC_SHA256,more=1", "is not key=…,algorithm=…"),
        ("key=\ud800\n,algorithm=HMAC_SHA256", r"the key '\\ud800' is not known"),
    ],
)
def test_what_is_not_configured_is_refused_by_name(settings: str, words: str) -> None:
    signature = sign_with_key("secret-1", "https://h/p", FORM)
    with pytest.raises(UnknownKeyError, match=words):
        KEYED.webhook("https://h", "/p", FORM, signature, settings)
    with pytest.raises(UnknownKeyError, match=words):
        KEYED.upgrade("wss://h", "/twilio", signature, settings)


# --- Hosts -----------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["voice.example.com", "192.0.2.7", "[2001:db8::7]"])
@pytest.mark.parametrize("told", ["", ":443"])
@pytest.mark.parametrize("signed", ["", ":443"])
def test_twilio_may_sign_with_and_without_the_port(host: str, told: str, signed: str) -> None:
    signature = sign(TOKEN, f"https://{host}{signed}/p?q=1:2", FORM)
    assert SIGNATURES.webhook(f"https://{host}{told}", "/p?q=1:2", FORM, signature)
    signature = sign(TOKEN, f"wss://{host}{signed}/twilio")
    assert SIGNATURES.upgrade(f"wss://{host}{told}", "/twilio", signature)


@pytest.mark.parametrize("host", ["voice.example.com", "[2001:db8::7]"])
def test_a_port_of_its_own_may_be_signed_or_dropped(host: str) -> None:
    for signed in (f"https://{host}:8443/p", f"https://{host}/p"):
        assert SIGNATURES.webhook(f"https://{host}:8443", "/p", [], sign(TOKEN, signed))
    assert not SIGNATURES.webhook(
        f"https://{host}:8443", "/p", [], sign(TOKEN, f"https://{host}:8444/p")
    )


@pytest.mark.parametrize("host", ["", "[", "]", "[::1", "::1", ":", "h:", "a@b", "h/p", "h\t", "%"])
def test_a_host_header_that_is_none_is_refused_and_no_more(host: str) -> None:
    signature = sign(TOKEN, "https://voice.example.com/p")
    assert not SIGNATURES.webhook(f"https://{host}", "/p", [], signature)
    assert not SIGNATURES.upgrade(f"wss://{host}", "/p", signature)


def test_an_upgrade_without_path_may_be_signed_either_way() -> None:
    for signed in ("wss://h", "wss://h/"):
        for path in ("", "/"):
            assert SIGNATURES.upgrade("wss://h", path, sign(TOKEN, signed))


# --- Mutations ---------------------------------------------------------------------------------

WORD = st.text(st.sampled_from("abcXYZ019-_.~%"), min_size=1, max_size=8)
FORMS = st.dictionaries(
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=6),
    st.text(st.characters(codec="utf-8"), max_size=6),
    max_size=4,
).map(lambda form: list(form.items()))


@st.composite
def mutations(draw: st.DrawFn, text: str) -> str:
    """`text` with one character added, taken away or exchanged."""
    at = draw(st.integers(0, len(text)))
    character = draw(st.sampled_from("aZ7-%."))
    mutated = draw(
        st.sampled_from(
            [
                text[:at] + character + text[at:],
                text[:at] + text[at + 1 :],
                text[:at] + character + text[at + 1 :],
            ]
        )
    )
    assume(mutated != text)
    return mutated


@settings(deadline=None)
@given(st.data(), WORD, WORD, WORD, FORMS)
def test_any_single_change_to_a_signed_webhook_is_refused(
    data: st.DataObject, host: str, path: str, query: str, form: list[tuple[str, str]]
) -> None:
    origin, target = f"https://{host}", f"/{path}?{query}"
    signature = sign(TOKEN, origin + target, form)
    assert SIGNATURES.webhook(origin, target, form, signature)
    change = data.draw(
        st.sampled_from(["host", "path", "query", "signature", "more"] + ["form"] * bool(form))
    )
    if change == "host":
        origin = f"https://{data.draw(mutations(host))}"
    elif change == "path":
        target = f"/{data.draw(mutations(path))}?{query}"
    elif change == "query":
        target = f"/{path}?{data.draw(mutations(query))}"
    elif change == "signature":
        signature = data.draw(mutations(signature))
    elif change == "more":
        form = [*form, (data.draw(WORD), data.draw(WORD))]
        assume(len(dict(form)) == len(form))
    else:
        at = data.draw(st.integers(0, len(form) - 1))
        name, value = form[at]
        field = data.draw(
            st.sampled_from([None, (name, value + "x"), (name + "x", value), (name[:-1], value)])
        )
        form = form[:at] + ([] if field is None else [field]) + form[at + 1 :]
        assume(len(dict(form)) == len(form))
    assert not SIGNATURES.webhook(origin, target, form, signature)


@settings(deadline=None)
@given(st.data(), WORD, WORD)
def test_any_single_change_to_a_signed_upgrade_is_refused(
    data: st.DataObject, host: str, path: str
) -> None:
    signature = sign(TOKEN, f"wss://{host}/{path}")
    assert SIGNATURES.upgrade(f"wss://{host}", f"/{path}", signature)
    assert not SIGNATURES.upgrade(f"wss://{data.draw(mutations(host))}", f"/{path}", signature)
    assert not SIGNATURES.upgrade(f"wss://{host}", f"/{data.draw(mutations(path))}", signature)
    assert not SIGNATURES.upgrade(f"wss://{host}", f"/{path}", data.draw(mutations(signature)))
