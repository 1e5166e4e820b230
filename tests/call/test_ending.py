"""Every way in which a call can end: one slug, one fault, and whether the fallback runs."""

import re
from typing import get_args

import pytest

from offhook.call.ending import Ending, Fault, Slug


def test_slugs_are_stable_names_and_unique() -> None:
    slugs = [how.slug for how in Slug]
    assert len(set(slugs)) == len(slugs)
    for how in Slug:
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", how.slug)
        assert how.slug == how.name.lower()


def test_every_ending_is_somebodys_doing_and_has_words_of_its_own() -> None:
    assert {how.fault for how in Slug} <= set(get_args(Fault))
    assert len({how.words for how in Slug}) == len(Slug)
    assert all(how.words and not how.words.endswith(".") for how in Slug)


def test_the_slugs_that_records_and_dashboards_already_know() -> None:
    """A slug may be added here, never renamed or taken away."""
    assert {how.slug: how.fault for how in Slug} == {
        "caller_hung_up": "nobody",
        "agent_hung_up": "nobody",
        "transferred": "nobody",
        "operator_hung_up": "operator",
        "caller_silent": "caller",
        "time_limit": "offhook",
        "spend_limit": "offhook",
        "call_refused": "nobody",
        "not_answered": "nobody",
        "line_busy": "nobody",
        "call_canceled": "operator",
        "call_failed": "twilio",
        "machine_answered": "nobody",
        "message_left": "nobody",
        "stream_never_came": "twilio",
        "caller_leg_lost": "twilio",
        "caller_leg_stuck": "twilio",
        "caller_leg_garbage": "twilio",
        "caller_leg_oversized": "twilio",
        "caller_leg_format": "twilio",
        "agent_busy": "agent",
        "agent_key_refused": "agent",
        "agent_unreachable": "agent",
        "agent_settings_refused": "agent",
        "agent_lost": "agent",
        "agent_silent": "agent",
        "agent_leg_stuck": "agent",
        "agent_leg_garbage": "agent",
        "server_full": "offhook",
        "shut_down": "operator",
        "internal_error": "offhook",
        "server_died": "offhook",
    }


@pytest.mark.parametrize("how", Slug)
def test_the_fallback_is_for_callers_who_were_let_down(how: Slug) -> None:
    went_as_it_should = {
        Slug.CALLER_HUNG_UP,
        Slug.CALLER_SILENT,
        Slug.TIME_LIMIT,
        Slug.SPEND_LIMIT,
        Slug.CALL_REFUSED,
        Slug.AGENT_HUNG_UP,
        Slug.TRANSFERRED,
        Slug.OPERATOR_HUNG_UP,
        Slug.NOT_ANSWERED,
        Slug.LINE_BUSY,
        Slug.MACHINE_ANSWERED,
        Slug.MESSAGE_LEFT,
        Slug.SERVER_FULL,  # another number was dialled
    }
    assert Ending(how).wants_fallback == (how not in went_as_it_should)
