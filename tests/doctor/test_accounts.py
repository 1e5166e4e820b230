"""The checks of keys by themselves, as `offhook init` uses them too."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.doctor.set_up import deepgram
from tests.whole_server import ACCOUNT, TOKEN, telephones

from offhook.clock import LoopClock
from offhook.config import Config, Overrides, load
from offhook.doctor import agent_session
from offhook.doctor.check import Check
from offhook.doctor.deepgram import look_at_deepgram
from offhook.doctor.deepgram_key import check_deepgram_key
from offhook.doctor.twilio import look_at_account
from offhook.doctor.twilio_account import check_twilio_account
from offhook.net import egress
from offhook.testing.simulator.deepgram.script import Script, Stage
from offhook.testing.simulator.twilio.account.account import SimulatedAccount
from offhook.testing.simulator.twilio.calls.network import Callbacks
from offhook.twilio.rest import TwilioRest
from offhook.twilio.rest_account import RestAccount

KEY, SECRET = f"SK{'4' * 32}", "the-secret"


def configured(folder: Path, text: str, env: Mapping[str, str]) -> Config:
    path = folder / "offhook.yaml"
    path.write_text(text)
    return load(path, env, overrides=Overrides())


@pytest.mark.parametrize(
    ("script", "name", "reason", "command"),
    [
        (Script(upgrade_status=401), "Deepgram key", "refused the key (401)", "DEEPGRAM_API_KEY"),
        (Script(upgrade_status=402), "Deepgram key", "out of credit", "Top up"),
        (Script(upgrade_status=429), "Deepgram key", "limit of sessions", "max_sessions"),
        (Script(upgrade_status=503), "Deepgram key", "E-DG-05", "status.deepgram.com"),
        (
            Script(settings=Stage(error="INVALID_SETTINGS")),
            "agent seed",
            "E-DG-06 Deepgram refused the Settings (INVALID_SETTINGS)",
            "offhook check",
        ),
        (
            Script(settings=Stage(fault="close")),
            "Deepgram key",
            "without applying the Settings",
            "offhook check",
        ),
        (Script(welcome=Stage(fault="garbage")), "Deepgram key", "is not Deepgram", "deepgram.url"),
    ],
)
async def test_what_deepgram_refuses_is_named(
    script: Script, name: str, reason: str, command: str, tmp_path: Path
) -> None:
    async with deepgram(LoopClock(asyncio.get_running_loop()), script) as url:
        config = configured(tmp_path, f"deepgram: {{url: '{url}'}}", {"DEEPGRAM_API_KEY": "a-key"})
        checks = await look_at_deepgram(config, list(config.lines.values()))
    (check,) = (each for each in checks if each.status == "bad")
    assert check.name == name
    assert reason in check.reason
    assert command in check.command
    assert "a-key" not in repr(checks)


async def test_a_key_that_works_is_good_with_its_times() -> None:
    async with deepgram(LoopClock(asyncio.get_running_loop()), Script()) as url:
        check = await check_deepgram_key("a-key", url)
    assert (check.name, check.status) == ("Deepgram key", "good")
    assert "a session opens in " in check.reason


def test_a_host_that_deepgram_does_not_have_names_those_that_it_has() -> None:
    """The agent's regions are at api.eu, and not at agent.eu (deepgram.md §1.1)."""
    assert "api.eu.deepgram.com" in agent_session.reach("wss://agent.eu.deepgram.com/v1")
    assert "curl" in agent_session.reach("wss://agent.deepgram.com/v1")


async def test_an_agent_beside_fallback_addresses_is_looked_at_on_each(tmp_path: Path) -> None:
    clock = LoopClock(asyncio.get_running_loop())
    async with deepgram(clock, Script()) as one, deepgram(clock, Script(upgrade_status=403)) as two:
        text = f"deepgram: {{url: '{one}', fallback_urls: ['{two}'], max_sessions: 9}}"
        config = configured(tmp_path, text, {"DEEPGRAM_API_KEY": "a-key"})
        checks = await look_at_deepgram(config, list(config.lines.values()))
    assert [(each.name, each.status) for each in checks] == [
        ("Deepgram key", "good"),
        ("agent seed", "good"),
        ("fallback 1", "bad"),
        ("Deepgram limit", "remark"),
    ]


@asynccontextmanager
async def account() -> AsyncIterator[tuple[SimulatedAccount, str]]:
    clock = LoopClock(asyncio.get_running_loop())
    async with telephones({}, Callbacks(), 1, clock) as (made, origin):
        made.api_key, made.api_secret = KEY, SECRET
        yield made, origin


async def checked(origin: str, user: str, password: str) -> Check:
    async with egress.client([origin]) as http:
        rest = TwilioRest(RestAccount(ACCOUNT, user, password, origin), http, attempts=1)
        return await check_twilio_account(rest)


async def test_credentials_of_either_kind_are_tried() -> None:
    async with account() as (_, origin):
        good = await checked(origin, ACCOUNT, TOKEN)
        assert (good.status, good.reason.startswith("the credentials are right")) == ("good", True)
        by_key = await checked(origin, KEY, SECRET)
        assert (by_key.status, "may not read" in by_key.reason) == ("good", True)
        for wrong in (await checked(origin, KEY, "x"), await checked(origin, ACCOUNT, "x")):
            assert wrong.status == "bad"
            assert "valid in one region alone" in wrong.reason


async def test_beside_an_api_key_each_token_is_tried_by_itself(tmp_path: Path) -> None:
    async with account() as (_, origin), egress.client([origin]) as http:
        text = f"twilio: {{api_url: '{origin}', account_sid: {ACCOUNT}}}"
        env = {"TWILIO_API_KEY": KEY, "TWILIO_API_SECRET": SECRET}
        found = {}
        for tokens in (TOKEN, f"old,{TOKEN}", "old", ""):
            config = configured(tmp_path, text, {**env, "TWILIO_AUTH_TOKEN": tokens})
            checks = await look_at_account(config, http)
            found[tokens] = [(each.name, each.status) for each in checks]
    good = ("Twilio account", "good")
    assert found == {
        TOKEN: [good, ("Twilio token", "good")],
        f"old,{TOKEN}": [good, ("Twilio token", "remark")],
        "old": [good, ("Twilio token", "bad")],
        "": [("Twilio token", "bad")],
    }
