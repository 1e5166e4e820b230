"""Names of models and voices: none that Deepgram has, or may have tomorrow, is called a mistake."""

import json
import re
from collections.abc import Callable, Collection
from pathlib import Path

import pytest

from offhook.deepgram import model_names
from offhook.deepgram.model_names import (
    LISTENERS,
    THINKERS,
    VOICES,
    NameCheck,
    listener,
    thinker,
    voice,
)
from offhook.text.spelling import meant_name

TESTS = Path(__file__).parents[1]
DOCS = TESTS.parent / "docs"
NAME = r"(?:aura|flux|nova|enhanced|base|gpt|claude|gemini|think|phonellm)(?:-[\w.]+)+(?<!\.)"


def check(name: str) -> NameCheck:
    """Check a name as the kind that its beginning says."""
    if re.match(r"aura-|flux-(?!general)", name):
        return voice(name)
    if re.match(r"flux-|nova|enhanced|base", name):
        return listener(name)
    maker = {"gpt": "open_ai", "claude": "anthropic", "gemini": "google"}
    return thinker(name, maker.get(name.partition("-")[0], "deepgram"))


@pytest.mark.parametrize("copy", ["2026-07-22", "2026-08-22"])
def test_every_name_of_the_published_schema_is_known(copy: str) -> None:
    spec = json.loads((TESTS / "contracts" / f"deepgram-asyncapi.{copy}.json").read_text())
    found: set[str] = set()

    def look(value: object, title: str) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                if key == "enum" and re.search("Model", title):
                    found.update(name for name in inner if re.fullmatch(NAME, name))
                look(inner, key if key not in ("items", "anyOf", "oneOf") else title)
        elif isinstance(value, list):
            for inner in value:
                look(inner, title)

    look(spec, "")
    assert len(found) > 60
    assert {name: check(name).finding for name in found if check(name).finding is not None} == {}


def test_every_name_of_the_pages_is_known_or_a_remark_at_most() -> None:
    pages = [*DOCS.rglob("*.md"), TESTS.parent / "README.md"]
    found = {name for page in pages for name in re.findall(rf"\b{NAME}\b", page.read_text())}
    assert {"gpt-4o-mini", "aura-2-thalia-en", "flux-kit-en", "nova-3"} <= found
    named = {name: check(name) for name in found if "deepgram" not in name}
    # What a page shows as a misspelling is one.
    shown = {"aura-2-thalya-en", "flux-kitt-en", "gpt-4o-mnii", "nova-33"}
    mistaken = {
        name for name, told in named.items() if told.finding and told.finding[0] == "mistake"
    }
    assert mistaken <= shown


@pytest.mark.parametrize(
    ("known", "is_proper"),
    [
        (VOICES, lambda runs, at: at == len(runs) - 2),
        (LISTENERS, lambda runs, at: False),
        *((models, lambda runs, at: False) for models in THINKERS.values()),
    ],
)
def test_a_name_that_was_new_once_would_have_been_a_remark(
    known: Collection[str], is_proper: Callable[[list[str], int], bool]
) -> None:
    """Each name in turn is taken for one that Deepgram adds to all the others."""
    mistaken = {
        name: meant
        for name in known
        if (meant := meant_name(name, set(known) - {name}, is_proper)) is not None
    }
    assert mistaken == {}


@pytest.mark.parametrize(
    "name",
    [
        "gpt-6", "gpt-5.6", "gpt-5.5-mini", "gpt-5.6-luna", "gpt-5.4-pro", "gpt-4o-2024-11-20",
        "claude-opus-4-8", "claude-haiku-5", "claude-haiku-4-5-20251001", "claude-sonnet-6",
        "gemini-4-flash", "gemini-3.5-pro", "gemini-3.5-flash-lite", "gemini-3.5-flash-latest",
        "nova-4", "nova-4-general", "nova-3-phonecall", "flux-general-es", "flux-2-general-en",
        "aura-3-thalia-en", "aura-2-thalia-es", "aura-2-noa-en", "aura-2-lina-en",
        "flux-kim-en", "flux-kate-en", "flux-jill-en", "flux-colby-en", "flux-dana-en",
        "flux-maya-en", "flux-noah-en", "flux-kyle-en", "flux-sara-en", "flux-bria-en",
    ],
)  # fmt: skip
def test_names_that_may_come_are_remarks(name: str) -> None:
    finding = check(name).finding
    assert finding is not None
    assert finding[0] == "remark"
    assert model_names.AS_OF in finding[1]


@pytest.mark.parametrize("name", ["flux-maria-es", "flux-kit-de", "flux-yuki-ja", "flux-an-fil"])
def test_a_flux_voice_of_another_language_is_taken_as_it_is(name: str) -> None:
    """There are some 190 of them (deepgram.md §2.6), of which no list is at hand."""
    assert voice(name).finding is None


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("aura-2-thalya-en", "aura-2-thalia-en"),
        ("aura-2-thalia", "aura-2-thalia-en"),
        ("aura-thalia-en", "aura-2-thalia-en"),
        ("thalia", "aura-2-thalia-en"),
        ("Kit", "flux-kit-en"),
        ("flux-kitt-en", "flux-kit-en"),
        ("flux-kit", "flux-kit-en"),
        ("nova-33", "nova-3"),
        ("nova3", "nova-3"),
        ("flux-general", "flux-general-en"),
    ],
)
def test_what_newcomers_write(written: str, meant: str) -> None:
    told = [each(written) for each in (voice, listener)]
    assert any(one == NameCheck(meant, one.finding) and one.finding for one in told)


@pytest.mark.parametrize(
    ("written", "provider", "meant"),
    [
        ("gpt-4o-mnii", "open_ai", "gpt-4o-mini"),
        ("gpt4o-mini", "open_ai", "gpt-4o-mini"),
        ("gpt-40-mini", "open_ai", "gpt-4o-mini"),
        ("claude-haiku-4.5", "anthropic", "claude-haiku-4-5"),
        ("claude-hiaku-4-5", "anthropic", "claude-haiku-4-5"),
        ("gemini-2.5-falsh", "google", "gemini-2.5-flash"),
    ],
)
def test_language_models(written: str, provider: str, meant: str) -> None:
    told = thinker(written, provider)
    assert told.meant == meant
    assert told.finding is not None
    assert told.finding[2] == f'Did you mean "{meant}"?'


@pytest.mark.parametrize("name", [None, 5, "", ["nova-3"], {}, "x" * 100_000])
def test_what_is_no_name_is_not_judged_as_one(name: object) -> None:
    for told in (voice(name), listener(name), thinker(name, "open_ai")):
        assert told.finding is None or told.finding[0] == "remark"
