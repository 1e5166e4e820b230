"""A number pointed at Offhook and put back, against the simulated account."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.testing.twilio.doors import ACCOUNT
from tests.testing.twilio.rig import ADA, DESK, rig

from offhook.errors import UserError
from offhook.numbers import telling
from offhook.numbers.account_numbers import AccountNumbers
from offhook.numbers.kept_routes import KeptRoutes
from offhook.numbers.routes import NumberRoute, VoiceRoute, claim
from offhook.testing.simulator.twilio.account.account import RestFault
from offhook.testing.simulator.twilio.account.resources import AccountNumber
from offhook.twilio.rest import TwilioRest

OURS = "https://voice.example.com"
DEMO = "https://demo.twilio.com/welcome/voice/"
FLOW = f"https://webhooks.twilio.com/v1/Accounts/{ACCOUNT}/Flows/FW" + "3" * 32
TRUNK = "TK" + "2" * 32
APP = "AP" + "1" * 32


class _KilledError(BaseException):
    """Raised where the process is killed."""


@asynccontextmanager
async def account(
    folder: Path, *numbers: AccountNumber, type_: str = "Full"
) -> AsyncIterator[tuple[AccountNumbers, TwilioRest]]:
    async with rig(numbers=numbers, type=type_) as it:
        kept = KeptRoutes(folder)
        with kept.alone():
            yield AccountNumbers(it.rest, ACCOUNT, kept), it.rest


def files(folder: Path) -> list[str]:
    return sorted(path.name.partition(".")[2] for path in (folder / "numbers").glob("PN*"))


def routes(number: AccountNumber) -> dict[str, str | None]:
    shown = number.json(ACCOUNT)
    names = ("voice_url", "voice_method", "status_callback", "voice_application_sid", "trunk_sid")
    return {name: shown[name] for name in names}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"VoiceUrl": "https://shop.example/secret?key=1"}, "https://shop.example/… answers"),
        ({"VoiceUrl": FLOW}, "the Studio flow FW333"),
        ({"VoiceUrl": "https://handler.twilio.com/twiml/EH1"}, "a TwiML Bin"),
        ({"VoiceUrl": DEMO, "TrunkSid": TRUNK}, f"the SIP trunk {TRUNK}"),
        ({"VoiceUrl": DEMO, "VoiceApplicationSid": APP}, f"the TwiML app {APP}"),
        ({"VoiceUrl": DEMO, "StatusCallback": "https://crm.example/x"}, "https://crm.example/…"),
    ],
)
async def test_a_number_of_somebody_else_is_taken_by_force_alone_and_put_back(
    settings: dict[str, str], words: str, tmp_path: Path
) -> None:
    number = AccountNumber(DESK, settings={**settings, "VoiceFallbackUrl": "https://fall.example/"})
    before = routes(number)
    async with account(tmp_path, number) as (numbers, _):
        with pytest.raises(UserError, match=r"E-NUM-04") as refused:
            await numbers.point(number.sid, OURS, "dev")
        assert words in refused.value.what
        assert "secret" not in refused.value.what
        assert (routes(number), files(tmp_path)) == (before, [])
        await numbers.point(number.sid, OURS, "dev", force=True)
        assert routes(number) == {
            "voice_url": f"{OURS}/twilio/voice",
            "voice_method": "POST",
            "status_callback": f"{OURS}/twilio/status",
            "voice_application_sid": "",
            "trunk_sid": None,
        }
        assert number.settings["VoiceFallbackUrl"] == "https://fall.example/"
        (kept,) = numbers.kept.all()
        done = await numbers.restore(kept)
    assert (done.left, routes(number), files(tmp_path)) == ((), before, [])
    assert DESK in telling.restored(done)


@pytest.mark.parametrize("url", ["", DEMO, f"{OURS}/twilio/voice"])
def test_a_number_that_nothing_answers_is_free(url: str) -> None:
    assert claim(NumberRoute(VoiceRoute(url)), [NumberRoute.to(OURS)]) is None


def test_a_url_that_is_none_is_somebodys() -> None:
    assert "an invalid URL" in (claim(NumberRoute(VoiceRoute("https://[1/")), ()) or "")


async def test_old_values_are_on_disk_before_twilio_is_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = AccountNumber(DESK, settings={"VoiceUrl": DEMO})

    def killed(*_: object, **__: object) -> None:
        raise _KilledError

    async with account(tmp_path, number) as (numbers, _):
        with monkeypatch.context() as patch:
            patch.setattr(TwilioRest, "update_number", killed)
            with pytest.raises(_KilledError):
                await numbers.point(number.sid, OURS, "dev")
        (kept,) = numbers.kept.all()
        assert kept.before.voice.url == DEMO
        # Nothing was changed at Twilio, and putting it back changes nothing.
        assert (await numbers.restore(kept)).left == ()
    assert (number.settings["VoiceUrl"], files(tmp_path)) == (DEMO, [])


async def test_a_change_that_twilio_made_without_an_answer_is_put_back(tmp_path: Path) -> None:
    number = AccountNumber(DESK, settings={"VoiceUrl": DEMO})
    async with rig(numbers=[number]) as it:
        numbers = AccountNumbers(it.rest, ACCOUNT, KeptRoutes(tmp_path))
        with numbers.kept.alone():
            fault = RestFault(400, 20001, acted=True)
            it.account.faults.extend([RestFault(429, 20429), fault])
            with pytest.raises(UserError, match="E-TW-03"):
                await numbers.point(number.sid, OURS, "dev")
            await numbers.point(number.sid, OURS, "dev")
            (kept,) = numbers.kept.all()
            await numbers.restore(kept)
    assert number.settings["VoiceUrl"] == DEMO


async def test_what_somebody_has_changed_since_is_left_and_told(tmp_path: Path) -> None:
    number = AccountNumber(DESK, settings={"VoiceUrl": DEMO})
    async with account(tmp_path, number) as (numbers, rest):
        await numbers.point(number.sid, OURS, "dev")
        await numbers.point(number.sid, "https://new.example.com", "dev")  # another tunnel
        await rest.update_number(number.sid, voice_url="https://theirs.example/voice")
        (kept,) = numbers.kept.all()
        done = await numbers.restore(kept)
        assert done.left == ("voice URL",)
        assert routes(number)["voice_url"] == "https://theirs.example/voice"
        assert routes(number)["status_callback"] == ""  # that was ours
        assert "--force" in telling.restored(done)
        # It stays theirs, also for the next start, and what it had before is not lost.
        with pytest.raises(UserError, match="E-NUM-04"):
            await numbers.point(number.sid, OURS, "dev")
        (kept,) = numbers.kept.all()
        assert (await numbers.restore(kept, force=True)).left == ()
    assert (routes(number)["voice_url"], files(tmp_path)) == (DEMO, [])


async def test_a_number_taken_from_whoever_changed_it_since_goes_back_to_them(
    tmp_path: Path,
) -> None:
    number = AccountNumber(DESK, settings={"VoiceUrl": DEMO})
    async with account(tmp_path, number) as (numbers, rest):
        await numbers.point(number.sid, OURS, "dev")
        await rest.update_number(number.sid, voice_url="https://theirs.example/voice")
        await numbers.point(number.sid, OURS, "dev", force=True)
        (kept,) = numbers.kept.all()
        await numbers.restore(kept)
    assert routes(number)["voice_url"] == "https://theirs.example/voice"
    assert files(tmp_path) == ["dev.json.1"]
    assert DEMO in (tmp_path / "numbers" / f"{number.sid}.dev.json.1").read_text()


async def test_dev_gives_a_number_back_to_what_was_set_for_good(tmp_path: Path) -> None:
    number = AccountNumber(DESK, settings={"VoiceUrl": DEMO})
    async with account(tmp_path, number) as (numbers, _):
        await numbers.point(number.sid, OURS, "set")
        await numbers.point(number.sid, "https://tunnel.example.com", "dev")  # ours: no force
        for_now, for_good = numbers.kept.all()
        await numbers.restore(for_now)
        assert routes(number)["voice_url"] == f"{OURS}/twilio/voice"
        await numbers.restore(for_good)
    assert (routes(number)["voice_url"], files(tmp_path)) == (DEMO, [])


@pytest.mark.parametrize(
    ("type_", "words"),
    [("Full", "not made all of it.\n"), ("Trial", "a trial account, which may not change")],
)
async def test_a_change_that_twilio_makes_in_part_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, type_: str, words: str
) -> None:
    number = AccountNumber(DESK, settings={"TrunkSid": TRUNK})
    async with account(tmp_path, number, type_=type_) as (numbers, _):
        keep_trunk = AccountNumber.update

        def update(self: AccountNumber, settings: dict[str, str]) -> None:
            keep_trunk(self, {k: v for k, v in settings.items() if k != "TrunkSid"})

        monkeypatch.setattr(AccountNumber, "update", update)
        with pytest.raises(UserError, match="E-NUM-09") as raised:
            await numbers.point(number.sid, OURS, "dev", force=True)
        assert words in f"{raised.value.what}\n"
        (kept,) = numbers.kept.all()
        await numbers.restore(kept)
    assert (routes(number)["trunk_sid"], routes(number)["voice_url"]) == (TRUNK, "")


async def test_a_number_is_chosen(tmp_path: Path) -> None:
    none = account(tmp_path)
    async with none as (numbers, _):
        with pytest.raises(UserError, match="E-NUM-01"):
            await numbers.choose(None, ())
    async with account(tmp_path, AccountNumber(DESK), AccountNumber(ADA)) as (numbers, _):
        assert (await numbers.choose(ADA, ())).phone_number == ADA
        assert (await numbers.choose(None, {DESK: "agent.yaml"})).phone_number == DESK
        with pytest.raises(UserError, match="E-NUM-02"):
            await numbers.choose(None, {"default": "agent.yaml"})
        with pytest.raises(UserError, match="E-NUM-03"):
            await numbers.choose("+12025550199", ())


async def test_a_number_that_was_given_up_is_not_asked_for_again(tmp_path: Path) -> None:
    number = AccountNumber(DESK)
    async with account(tmp_path, number) as (numbers, _):
        await numbers.point(number.sid, OURS, "dev")
        (kept,) = numbers.kept.all()
    async with account(tmp_path, AccountNumber(ADA)) as (numbers, _):
        done = await numbers.restore(kept)
        assert (done.is_gone, numbers.kept.all()) == (True, [])
    assert "not a number of the account" in telling.restored(done)


async def test_a_number_of_another_account_is_not_put_back_with_this_one(tmp_path: Path) -> None:
    number = AccountNumber(DESK, settings={"VoiceUrl": DEMO})
    async with account(tmp_path, number) as (numbers, rest):
        await numbers.point(number.sid, OURS, "dev")
        (kept,) = numbers.kept.all()
        other = AccountNumbers(rest, "AC" + "9" * 32, numbers.kept)
        with pytest.raises(UserError, match="E-NUM-07"):
            await other.restore(kept)
        assert files(tmp_path) == ["dev.json"]


async def test_one_command_at_a_time_has_the_numbers(tmp_path: Path) -> None:
    first, second = KeptRoutes(tmp_path), KeptRoutes(tmp_path)
    with first.alone(), pytest.raises(UserError, match="E-NUM-08"), second.alone():
        pass


async def test_without_a_place_for_the_old_values_nothing_is_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = AccountNumber(DESK, settings={"VoiceUrl": DEMO})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    async with account(tmp_path, number) as (numbers, _):
        monkeypatch.setattr("os.fsync", full)
        with pytest.raises(UserError, match="E-NUM-05"):
            await numbers.point(number.sid, OURS, "dev")
    assert (number.settings["VoiceUrl"], files(tmp_path)) == (DEMO, [])
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="E-NUM-05"), KeptRoutes(tmp_path / "file").alone():
        pass


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b"[" * 5000])
def test_a_file_that_cannot_be_read_is_named_and_kept(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "numbers" / f"PN{'1' * 32}.dev.json"
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(UserError, match="E-NUM-06") as unreadable:
        KeptRoutes(tmp_path).all()
    assert str(path) in unreadable.value.what
    assert path.read_bytes() == content
