"""The doctor against a good set-up and against broken ones: each names its cause.

Everything is real but the vendors: a server with TLS and a journal, the simulated account, the
stand-in agent, and the files that a person writes.
"""

import copy
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.doctor.set_up import (
    NUMBER,
    SETTINGS,
    SetUp,
    running_server,
    set_up,
    trusted_here,
    webhooks,
)

from offhook.config import load_app
from offhook.doctor.check import Check, Status
from offhook.doctor.examination import as_it_runs
from offhook.journal.keeper import EventJournal

STUDIO: Final = f"https://webhooks.twilio.com/v1/Accounts/AC{'1' * 32}/Flows/FW{'2' * 32}"


class Broken(NamedTuple):
    """A break of a good set-up, and the check that must name its cause."""

    apply: Callable[[SetUp], None]
    name: str
    reason: str
    command: str
    status: Status = "bad"


def in_file(part: str, **values: Any) -> Callable[[SetUp], None]:
    return lambda it: it.file[part].update(values)


def in_account(**values: Any) -> Callable[[SetUp], None]:
    def apply(it: SetUp) -> None:
        for name, value in values.items():
            setattr(it.account, name, value)

    return apply


def in_number(**values: str) -> Callable[[SetUp], None]:
    return lambda it: it.number(**{**webhooks(it.file["server"]["public_url"]), **values})


def no_key(it: SetUp) -> None:
    del it.env["DEEPGRAM_API_KEY"]


def foreign_token(it: SetUp) -> None:
    it.env["TWILIO_AUTH_TOKEN"] = "f" * 32


def misspelt_voice(it: SetUp) -> None:
    provider = {"type": "deepgram", "version": "v2", "model": "flux-kitt-en"}
    it.agent["settings"] = {**SETTINGS, "speak": {"provider": provider}}


def clock_ahead(it: SetUp) -> None:
    it.ahead_s = 3600


BROKEN: Final = {
    "a voice that does not exist": Broken(
        misspelt_voice, "configuration", "flux-kitt-en", 'Did you mean "flux-kit-en"'
    ),
    "a mistake in an agent file": Broken(
        lambda it: it.agent.update(settings={"tags": []}), "configuration", "E-SET-01", ""
    ),
    "no key": Broken(no_key, "Deepgram key", "E-DG-01 No Deepgram key", "Set it"),
    "no network": Broken(
        in_file("deepgram", url="ws://127.0.0.1:1"), "Deepgram key", "E-DG-04", "curl"
    ),
    "Twilio cannot be reached": Broken(
        in_file("twilio", api_url="http://127.0.0.1:1"), "Twilio account", "E-TW-04", "curl"
    ),
    "a token of another account or region": Broken(
        foreign_token, "Twilio account", "valid in one region alone", "twilio.region"
    ),
    "a server with another token": Broken(
        foreign_token, "server", "refuses the signature", "Restart"
    ),
    "an account that is suspended": Broken(
        in_account(status="suspended"), "Twilio account", "is suspended", "Console"
    ),
    "a trial account": Broken(
        in_account(type="Trial"), "Twilio account", "trial", "Upgrade", "remark"
    ),
    "an account without numbers": Broken(
        in_account(numbers=()), "Twilio numbers", "has no number", "Buy one"
    ),
    "a number that is not of the account": Broken(
        lambda it: it.file.update(lines={"+12025550199": "shop.yaml"}),
        "+12025550199",
        "has no such number",
        "numbers list",
    ),
    "a number in a Studio flow": Broken(
        in_number(VoiceUrl=STUDIO), NUMBER, "Studio flow", f"numbers set --number {NUMBER} --force"
    ),
    "a number in a SIP trunk": Broken(
        in_number(TrunkSid=f"TK{'3' * 32}"), NUMBER, "SIP trunk", "numbers set"
    ),
    "a number of a TwiML app": Broken(
        in_number(VoiceApplicationSid=f"AP{'3' * 32}"), NUMBER, "TwiML app", "numbers set"
    ),
    "a number that calls another host": Broken(
        in_number(VoiceUrl="https://old.example/twilio/voice?key=s3cret"),
        NUMBER,
        "go to https://old.example/twilio/voice, not",
        "numbers set",
    ),
    "a number that asks by GET": Broken(
        in_number(VoiceMethod="GET"), NUMBER, "by GET", "numbers set"
    ),
    "a number without a status callback": Broken(
        in_number(StatusCallback=""), NUMBER, "last status does not", "numbers set", "remark"
    ),
    "a number without a webhook": Broken(
        in_number(VoiceUrl=""), NUMBER, "no webhook", "numbers set"
    ),
    "a country that is closed": Broken(
        in_account(countries=frozenset({"CA"})), "Twilio countries", "may not call US", "Geo"
    ),
    "a tunnel that is down": Broken(
        in_file("server", public_url="https://localhost:1"), "public URL", "refused", "tunnel"
    ),
    "a clock that is an hour ahead": Broken(
        clock_ahead, "clock", "s ahead of Twilio: signed", "ntp"
    ),
    "a capacity beyond the limit of files": Broken(
        in_file("server", capacity=50_000_000), "open files", "server.capacity is 5", "ulimit"
    ),
    "a limit that is not set": Broken(
        in_file("deepgram", max_sessions=None), "Deepgram limit", "not set", "plan", "remark"
    ),
    "no server": Broken(
        in_file("records", folder="elsewhere"), "server", "no server runs", "serve", "remark"
    ),
}


def found(checks: list[Check], name: str) -> list[Check]:
    return [check for check in checks if check.name == name]


def named(checks: list[Check], broken: Broken) -> bool:
    return any(
        check.status == broken.status
        and broken.reason in check.reason
        and broken.command in check.command
        for check in found(checks, broken.name)
    )


async def test_a_good_set_up_is_good_and_each_broken_one_names_its_cause(tmp_path: Path) -> None:
    async with set_up(tmp_path) as it:
        good = await it.examine()
        assert [check for check in good if check.status != "good"] == []
        names = [check.name for check in good]
        assert names == [
            "configuration",
            "Deepgram key",
            "agent shop",
            "Deepgram limit",
            "Twilio account",
            NUMBER,
            "Twilio countries",
            "clock",
            "server",
            "public URL",
            "disk",
            "open files",
            "versions",
        ]
        missed = {}
        (number,) = it.account.numbers
        usual = dict(number.settings)
        for what, broken in BROKEN.items():
            account = copy.copy(it.account)
            case = dataclasses.replace(
                it, file=copy.deepcopy(it.file), agent=dict(it.agent), env=dict(it.env)
            )
            broken.apply(case)
            checks = await case.examine()
            for field in ("status", "type", "numbers", "countries"):
                setattr(it.account, field, getattr(account, field))
            number.settings.clear()
            number.settings |= usual
            if not named(checks, broken):
                missed[what] = [check for check in checks if check.status != "good"]
            assert case.env["TWILIO_AUTH_TOKEN"] not in repr(checks)
            assert "s3cret" not in repr(checks)
        assert missed == {}


def test_port_and_public_url_of_the_process_that_runs_need_no_option(tmp_path: Path) -> None:
    path = tmp_path / "offhook.yaml"
    path.write_text("server: {port: 5000}")
    app = load_app(path, {})
    with EventJournal(app.records.journals, 16_000_000) as journal:
        journal.announce("1", "", 5005, "https://voice.example.com")
        known = as_it_runs(app).server
        assert (known.port, known.public_url) == (5005, "https://voice.example.com")
        path.write_text("server: {public_url: 'https://other.example'}")
        assert as_it_runs(load_app(path, {})).server.public_url == "https://other.example"
    assert as_it_runs(app).server.port == 5000, "nothing runs now"


async def test_a_public_url_of_another_process_is_told_from_this_one(tmp_path: Path) -> None:
    """Two servers with one token: a tunnel that was left open leads to the other."""
    async with set_up(tmp_path) as it, running_server(tmp_path / "two", it.authority) as other:
        it.file["server"]["public_url"] = f"https://localhost:{other.server.port}"
        checks = await it.examine()
        (public,) = found(checks, "public URL")
        assert (public.status, "another Offhook" in public.reason) == ("bad", True), public


async def test_a_certificate_that_nobody_trusts_is_named(tmp_path: Path) -> None:
    (tmp_path / "another").mkdir()
    async with set_up(tmp_path) as it:
        with trusted_here(tmp_path / "another"):
            checks = await it.examine()
        (public,) = found(checks, "public URL")
        assert public.status == "bad"
        assert "TLS: " in public.reason
