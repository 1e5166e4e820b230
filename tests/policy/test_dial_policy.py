"""What is never dialled, whoever asks for it; and how much of the rest."""

import dataclasses
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st
from phonenumbers import PhoneMetadata

from offhook.policy.dial_count import Kind
from offhook.policy.dial_policy import (
    DEFAULT_COUNTRIES,
    TRANSFERS_PER_CALL,
    DialPolicy,
    DialRefusal,
    DialRules,
    country_of,
    refusal,
)

ALLOWED = "+12025550142"
RULES = DialRules(sip_hosts=frozenset({"pbx.example.com"}))
ARABIC = {48 + digit: 0x660 + digit for digit in range(10)}
WIDE = {48 + digit: 0xFF10 + digit for digit in range(10)}
EUROPE = DialRules(countries=frozenset({"DE", "GB"}), home=frozenset({"DE"}))


def why(rules: DialRules, destination: str) -> str | None:
    refused = refusal(rules, destination)
    return None if refused is None else refused.slug


@pytest.mark.parametrize(
    "destination",
    [
        ALLOWED,
        "+14165550142",  # Toronto
        "+18005550142",  # toll-free, and we are at home there
        "sip:front.desk@pbx.example.com",
        "sips:1001@PBX.example.com:5061;transport=tls",
        "sip:+12025550142@pbx.example.com",
    ],
)
def test_what_is_allowed(destination: str) -> None:
    assert refusal(RULES, destination) is None


@pytest.mark.parametrize(
    ("destination", "slug"),
    [
        ("+19005551234", "premium_rate"),
        ("+18095551234", "country"),  # the Dominican Republic shares +1
        ("+18765551234", "country"),  # Jamaica
        ("+12684641234", "country"),  # Antigua
        ("+16846221234", "country"),  # American Samoa
        ("+17875551234", "country"),  # Puerto Rico is a country to ISO
        ("+16005551234", "satellite"),
        ("+15005551234", "special"),
        ("+15005550006", "special"),  # Twilio's own number for tests
        ("+15550100100", "no_such_number"),
        ("+12025550142999", "no_such_number"),
        ("+19115551234", "no_such_number"),
        ("+1911", "short_number"),
        ("911", "short_number"),
        ("112", "short_number"),
        ("+442079460018", "country"),
        ("+870773111632", "no_country"),
        ("+881612345678", "no_country"),
        ("+882165123456", "no_country"),
        ("+883510000000", "no_country"),
        ("+80012345678", "no_country"),
        ("+979123456789", "no_country"),
        ("2025550142", "malformed"),
        ("0012025550142", "malformed"),
        ("+1 202 555 0142", "malformed"),
        ("+1-202-555-0142", "malformed"),
        ("+12025550142\n", "malformed"),
        (" +12025550142", "malformed"),
        ("+12025550142;ext=9", "malformed"),
        ("+12025550142x9", "malformed"),
        ("+12025550142,+19005551234", "malformed"),
        ("tel:+12025550142", "malformed"),
        ("tel:0142;phone-context=+1202555", "malformed"),
        ("+1202555HELP", "malformed"),
        ("+1" + "2025550142".translate(ARABIC), "malformed"),
        ("+1" + "2025550142".translate(WIDE), "malformed"),
        ("\N{FULLWIDTH PLUS SIGN}12025550142", "malformed"),
        ("client:ada", "malformed"),
        ("", "malformed"),
        ("+", "malformed"),
        ("sip:desk@pbx.example.com.evil.com", "sip_host"),
        ("sip:desk@evil.com", "sip_host"),
        ("sip:desk@pbx.example.com@evil.com", "malformed"),
        ("sip:desk@pbx.example.com?x-to=+1900", "malformed"),
        ("sip:desk@pbx.example.com;maddr=evil.com", "malformed"),
        ("sip:de sk@pbx.example.com", "malformed"),
        ("sip:pbx.example.com", "malformed"),
        ("sip:+19005551234@pbx.example.com", "premium_rate"),
        ("sip:+881612345678@pbx.example.com", "no_country"),
    ],
)
def test_what_is_refused(destination: str, slug: str) -> None:
    assert why(RULES, destination) == slug


@pytest.mark.parametrize(
    ("destination", "slug"),
    [
        ("+4930123456", None),
        ("+442079460018", None),
        ("+447400123456", None),
        ("+4407400123456", "no_such_number"),  # a trunk prefix within
        ("+447781123456", "country"),  # Guernsey shares +44
        ("+447624123456", "country"),  # the Isle of Man
        ("+447011123456", "special"),  # personal numbers: a trick as old as they are
        ("+443001234567", "special"),
        ("+448451234567", "premium_rate"),
        ("+491805123456", "shared_cost"),
        ("+499001234567", "premium_rate"),
        ("+498001234567", None),
        ("+448081570192", "toll_free"),  # Britain may be dialled, but is not home
        ("+18005550142", "toll_free"),
        ("+12025550142", "country"),
    ],
)
def test_what_is_refused_in_europe(destination: str, slug: str | None) -> None:
    assert why(EUROPE, destination) == slug


TRICKS = [
    *("+19005551234", "+447011123456", "+448451234567", "+4915", "12345", "72345", "+172345"),
    *("+18095551234", "+18765551234", "+14735551234", "+16495551234", "+12845551234"),  # +1 islands
    *("+12025550142;postd=ww9", "+12025550142;ext=9", "+12025550142,,9", "+12025550142w9"),
    *(
        "+12025550142p900",
        "+12025550142#",
        "+12025550142*9",
        "+12025550142\x00",
        "+12025550142\r\n",
    ),
    "+1" + "2025550142".translate(ARABIC),
    "+1202555014" + chr(0xFF12),
    *("+881612345678", "+8835100012345", "tel:+12025550142", "sms:+12025550142"),
    *("whatsapp:+12025550142", "messenger:1", "client:ada", "+12025550142@evil.example"),
    *("sip:+19005551234@pbx.example.com", "sip:1@evil.example", "sip:1@pbx.example.com;user=phone"),
]
"""Destinations by which others were made to pay, or to dial further than they were asked to."""


@pytest.mark.parametrize("kind", ["call", "transfer", "text"])
@pytest.mark.parametrize("destination", TRICKS)
async def test_tricks_are_refused_whoever_asks(kind: Kind, destination: str) -> None:
    rules = dataclasses.replace(RULES, countries=frozenset({"US", "CA", "GB", "DE"}))
    assert await DialPolicy(rules).check(kind, destination, 0.0) is not None
    if kind == "transfer":
        assert await DialPolicy(rules).begin_transfer("CA1", destination, 0.0) is not None


def test_toll_free_numbers_of_a_shared_calling_code_are_at_home_in_each_of_its_countries() -> None:
    canada = DialRules(countries=frozenset({"CA"}), home=frozenset({"CA"}))
    assert refusal(canada, "+18005550142") is None
    assert why(canada, "+12025550142") == "country"


def test_a_country_is_not_a_calling_code() -> None:
    numbers = (ALLOWED, "+18095551234", "+447781123456", "+870773111632", "0", "+15550100100")
    assert [country_of(number) for number in numbers] == ["US", "DO", "GG", None, None, None]


# --- 10,000 destinations against the metadata itself ---------------------------------------------

DENIED = ("premium_rate", "shared_cost", "personal_number", "pager", "uan", "voicemail")


def is_within_policy(destination: str, countries: frozenset[str]) -> bool:
    """The policy again, from the raw patterns of the metadata and nothing of the policy."""
    number = re.fullmatch(r"(?:sip:)?(\+[0-9]+)(?:@pbx\.example\.com)?", destination, re.ASCII)
    if number is None:
        return re.fullmatch(r"sips?:[a-z0-9]+@pbx\.example\.com", destination) is not None
    for country in countries:
        data = PhoneMetadata.metadata_for_region(country)
        assert data is not None
        prefix = f"+{data.country_code}"
        if not number[1].startswith(prefix):
            continue
        rest = number[1].removeprefix(prefix)

        def has(name: str, data: PhoneMetadata = data, rest: str = rest) -> bool:
            pattern = getattr(getattr(data, name), "national_number_pattern", None)
            return pattern is not None and re.fullmatch(pattern, rest) is not None

        if rest.startswith("600") and data.country_code == 1:
            return False
        if any(has(name) for name in DENIED):
            return False
        ordinary = any(has(name) for name in ("fixed_line", "mobile", "voip", "toll_free"))
        if has("general_desc") and ordinary:
            return True
    return False


def digits(dice: random.Random, count: int) -> str:
    return "".join(dice.choice("0123456789") for _ in range(count))


def examples() -> list[str]:
    """A number of every kind of every country, and of the networks of none."""
    kinds = [kind for kind in range(28) if kind in phonenumbers.PhoneNumberType.values()]
    found = []
    for region in sorted(phonenumbers.SUPPORTED_REGIONS):  # the same numbers in every run
        for kind in kinds:
            number = phonenumbers.example_number_for_type(region, kind)
            if number is not None:
                found.append(phonenumbers.format_number(number, 0))
    for code in phonenumbers.COUNTRY_CODES_FOR_NON_GEO_REGIONS:
        number = phonenumbers.example_number_for_non_geo_entity(code)
        if number is not None:
            found.append(phonenumbers.format_number(number, 0))
    return found


def destinations(dice: random.Random) -> Iterator[str]:
    """10,000 that a model, a caller or a fraudster might come up with."""
    known = examples()
    yield from known

    def near(_: object) -> str:
        number = list(dice.choice(known))
        number[dice.randrange(2, len(number))] = dice.choice("0123456789")
        return "".join(number)

    strange: list[Callable[[str], str]] = [
        lambda n: n + ";ext=" + digits(dice, 3),
        lambda n: n + ";phone-context=+" + digits(dice, 2),
        lambda n: "tel:" + n,
        lambda n: " ".join(n),
        lambda n: n[:3] + "-" + n[3:],
        lambda n: n.translate(ARABIC),
        lambda n: n[:-1] + chr(0xFF10 + dice.randrange(10)),
        lambda n: n[:-4] + "TAXI",
        lambda n: "00" + n[1:],
        lambda n: n[1:],
        lambda n: n + dice.choice("\n\t\u200b\u2063,#pwx"),
        lambda n: (
            f"sip:{n}@{dice.choice(('pbx.example.com', 'evil.example', 'pbx.example.com.x'))}"
        ),
        lambda n: f"sip:{digits(dice, 4)}@{dice.choice(('pbx.example.com', 'evil.example'))}",
        lambda n: n + digits(dice, dice.randrange(1, 5)),
        lambda n: n[: dice.randrange(2, len(n))],
    ]
    codes = ("870", "881", "882", "883", "878", "979", "888", "800", "808", "991", "999", "210")
    for index in range(10_000 - len(known)):
        match index % 5:
            case 0:
                yield "+1" + digits(dice, 10)
            case 1:
                yield "+" + dice.choice(codes) + digits(dice, dice.randrange(5, 12))
            case 2:
                yield near(index)
            case 3:
                yield dice.choice(strange)(dice.choice((ALLOWED, dice.choice(known))))
            case _:
                area = dice.choice((*"2345678", "900", "809", "876", "600", "500", "710", "911"))
                number = "+1" + area + digits(dice, 10)
                yield number[:12]


@pytest.mark.parametrize(
    "countries",
    [DEFAULT_COUNTRIES, frozenset({"GB", "DE", "AU", "RU", "IT"}), frozenset({"JM"})],
)
async def test_of_10_000_destinations_none_outside_the_policy_is_dialled(
    countries: frozenset[str],
) -> None:
    rules = DialRules(
        countries=countries,
        home=countries,
        sip_hosts=frozenset({"pbx.example.com"}),
        calls_per_hour=20_000,
        spend_per_hour=1e6,
    )
    policy = DialPolicy(rules)
    tried = list(destinations(random.Random(6)))
    assert len(tried) == 10_000
    refused = Counter[str]()
    dialled = []
    for destination in tried:
        found = await policy.check("call", destination, 0.0)
        if found is None:
            dialled.append(destination)
        else:
            refused[found.slug] += 1
    assert [one for one in dialled if not is_within_policy(one, countries)] == []
    # And it is no wall: what the policy allows is dialled, but for satellites.
    missed = {one for one in tried if is_within_policy(one, countries)} - set(dialled)
    assert [one for one in missed if not one.removeprefix("sip:").startswith("+6114")] == []
    assert len(dialled) > 100
    assert {"malformed", "no_such_number", "country", "no_country", "sip_host"} <= set(refused)


@given(st.text())
def test_no_text_whatever_makes_it_fail(text: str) -> None:
    found = refusal(RULES, text)
    assert found is None or found.words


# --- Limits --------------------------------------------------------------------------------------


async def test_calls_and_transfers_share_a_limit_that_slides() -> None:
    policy = DialPolicy(DialRules(calls_per_hour=2))
    assert await policy.check("call", ALLOWED, 100.0) is None
    assert await policy.check("transfer", ALLOWED, 200.0) is None
    assert await policy.check("call", ALLOWED, 300.0) == DialRefusal.CALLS_PER_HOUR
    assert await policy.check("text", ALLOWED, 300.0) is None
    assert await policy.check("call", ALLOWED, 3699.0) == DialRefusal.CALLS_PER_HOUR
    assert await policy.check("call", ALLOWED, 3700.0) is None
    assert await policy.check("call", ALLOWED, 3701.0) == DialRefusal.CALLS_PER_HOUR


async def test_texts_have_a_limit_of_their_own() -> None:
    policy = DialPolicy(DialRules(texts_per_hour=1))
    assert await policy.check("text", ALLOWED, 0.0) is None
    assert await policy.check("text", ALLOWED, 1.0) == DialRefusal.TEXTS_PER_HOUR
    assert await policy.check("call", ALLOWED, 1.0) is None


async def test_calls_and_texts_share_the_money_and_a_long_text_costs_more() -> None:
    policy = DialPolicy(DialRules(spend_per_hour=1.0, price_per_call=0.4, price_per_text=0.1))
    assert await policy.check("call", ALLOWED, 0.0) is None
    assert await policy.check("text", ALLOWED, 1.0, segments=7) == DialRefusal.SPEND_PER_HOUR
    assert await policy.check("text", ALLOWED, 1.0, segments=6) is None
    assert await policy.check("text", ALLOWED, 2.0) == DialRefusal.SPEND_PER_HOUR
    assert await policy.check("call", ALLOWED, 3600.0) is None


async def test_what_was_refused_uses_nothing_up() -> None:
    policy = DialPolicy(DialRules(calls_per_hour=1))
    for _ in range(5):
        assert await policy.check("call", "+19005551234", 0.0) == DialRefusal.PREMIUM_RATE
    assert await policy.check("call", ALLOWED, 0.0) is None


async def test_a_sip_address_gets_no_texts() -> None:
    address = "sip:desk@pbx.example.com"
    assert await DialPolicy(RULES).check("text", address, 0.0) == DialRefusal.NOT_TEXTABLE
    assert await DialPolicy(RULES).check("call", address, 0.0) is None


async def test_a_call_has_one_transfer_at_a_time() -> None:
    policy = DialPolicy(RULES)
    assert await policy.begin_transfer("CA1", "+19005551234", 0.0) == DialRefusal.PREMIUM_RATE
    assert await policy.begin_transfer("CA1", ALLOWED, 0.0) is None
    assert await policy.begin_transfer("CA1", ALLOWED, 1.0) == DialRefusal.TRANSFER_UNDER_WAY
    assert await policy.begin_transfer("CA2", ALLOWED, 1.0) is None
    policy.end_transfer("CA1")
    policy.end_transfer("CA1")
    assert await policy.begin_transfer("CA1", ALLOWED, 2.0) is None


async def test_a_call_has_five_transfers_and_no_more() -> None:
    policy = DialPolicy(RULES)
    for _ in range(TRANSFERS_PER_CALL):
        assert await policy.begin_transfer("CA1", ALLOWED, 0.0) is None
        policy.end_transfer("CA1")
    assert await policy.begin_transfer("CA1", ALLOWED, 0.0) == DialRefusal.TRANSFERS_OF_CALL
    policy.forget("CA1")
    assert await policy.begin_transfer("CA1", ALLOWED, 0.0) is None
