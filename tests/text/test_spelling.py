"""Misspellings: fingers slip in few ways, and most other differences are another word."""

import pytest

from offhook.text.spelling import folded, meant_key, meant_name

KEYS = ("prompt", "greeting", "language", "language_hints", "eot_threshold", "tags", "speed", "url")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("promt", "prompt"),
        ("propmt", "prompt"),
        ("prommpt", "prompt"),
        ("Prompt", "prompt"),
        ("greetng", "greeting"),
        ("langauge", "language"),
        ("languagehint", "language_hints"),
        ("eotThreshold", "eot_threshold"),
        ("eot-threshhold", "eot_threshold"),
        ("tag", "tags"),
        ("flags", None),
        ("speak", None),
        ("uri", None),
        ("", None),
        ("x" * 100_000, None),
        ("volume", None),
    ],
)
def test_keys(written: str, meant: str | None) -> None:
    assert meant_key(written, KEYS) == meant


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("flux-kitt-en", "flux-kit-en"),
        ("flux-ikt-en", "flux-kit-en"),
        ("FLUX_KIT_EN", "flux-kit-en"),
        ("fluxkit-en", "flux-kit-en"),
        ("flxu-kit-en", "flux-kit-en"),
        ("flux-hanah-en", "flux-hannah-en"),
        ("flux-hannag-en", "flux-hannah-en"),
        ("nova-33", "nova-3"),
        ("n0va-3", "nova-3"),
        # Another name, another version, another language, another family.
        ("flux-kim-en", None),
        ("flux-kip-en", None),
        ("flux-rit-en", None),
        ("flux-rannah-en", None),
        ("flux-kit-es", None),
        ("flux-2-kit-en", None),
        ("nova-4", None),
        ("nova-3.5", None),
        ("novb-4", None),
        ("", None),
    ],
)
def test_names(written: str, meant: str | None) -> None:
    known = ("flux-kit-en", "flux-hannah-en", "nova-3")
    assert meant_name(written, known, lambda runs, at: at == 1) == meant


def test_names_are_folded_to_what_the_eye_sees() -> None:
    assert folded("GPT-4o_mini") == folded("gpt.40.mini")
    assert folded("gpt-4.1") != folded("gpt-4.2")
