"""offhook numbers, against the simulated account."""

import asyncio
import json
from pathlib import Path

from tests.cli.in_process import offhook
from tests.cli.served import SECRETS
from tests.dev.developing import DEMO, NUMBER, desk

URL = "https://voice.example.com"


async def test_numbers_are_listed_set_and_put_back(tmp_path: Path) -> None:
    async with desk(tmp_path) as it:

        async def numbers(*arguments: str, **environ: str) -> tuple[int, str]:
            names = ("TWILIO", "OFFHOOK_TWILIO")
            given = {
                name: it.environ[name] for name in it.environ if name.startswith(names)
            } | environ
            done = await asyncio.to_thread(offhook, tmp_path, "numbers", *arguments, **given)
            return done.returncode, done.stdout + done.stderr

        assert await numbers("list") == (0, f"{NUMBER}  Twilio's demo answers its calls\n")
        _, listed = await numbers("list", "--json")
        assert json.loads(listed)[0]["voice"]["url"] == DEMO
        terminal = {"FORCE_COLOR": "1", "TERM": "xterm"}
        code, said = await numbers("set", "--number", NUMBER, "--public-url", URL, **terminal)
        assert (code, it.settings["VoiceUrl"]) == (0, f"{URL}/twilio/voice"), said
        assert "asking Twilio" in said
        assert f"{NUMBER} is answered at {URL}/twilio/voice" in said
        it.account.numbers[0].update({"VoiceUrl": "https://theirs.example/"})
        code, said = await numbers("restore")
        assert (code, it.settings["VoiceUrl"]) == (1, "https://theirs.example/")
        code, said = await numbers("set", "--number", NUMBER, "--public-url", URL)
        assert (code, said[:8]) == (1, "E-NUM-04")
        code, said = await numbers("restore", "--force", "--number", NUMBER)
        assert (code, it.settings["VoiceUrl"]) == (0, DEMO), said
        assert await numbers("restore") == (0, "Nothing is to be put back.\n")


def test_without_credentials_it_says_which(tmp_path: Path) -> None:
    done = offhook(tmp_path, "numbers", "list", **SECRETS)
    assert (done.returncode, done.stderr[:7]) == (1, "E-TW-02")
    assert "TWILIO_ACCOUNT_SID" in done.stderr
