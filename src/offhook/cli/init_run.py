"""Implementation of `offhook init`: ask, check, write, and say what comes next."""

import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

import dotenv
import typer

from offhook import yamlfile
from offhook.cli.progress import waiting
from offhook.concurrency.event_loop import run
from offhook.config import AppConfig
from offhook.config.app_reading import app_of
from offhook.config.environment import secret_of
from offhook.doctor.check import Check
from offhook.doctor.deepgram_key import check_deepgram_key
from offhook.doctor.twilio_account import check_twilio_account
from offhook.errors import UserError
from offhook.net import egress
from offhook.observability.console_output import inert
from offhook.scaffold import files, keys
from offhook.scaffold.writing import PRIVATE, NewFile, write_all
from offhook.testing.scenarios import schema as scenario_schema
from offhook.text import urls
from offhook.twilio.errors import TwilioRefusedError, TwilioUnreachableError
from offhook.twilio.rest import RestNumber, TwilioRest
from offhook.twilio.rest_account import RestAccount

_T = TypeVar("_T")

TRIES: Final = 3
"""Times that a key is asked for, when it is refused."""

SHOWN_MAX: Final = 20
"""Numbers of an account that are listed to choose from."""

DEEPGRAM: Final = "DEEPGRAM_API_KEY"
SID: Final = "TWILIO_ACCOUNT_SID"
TOKEN: Final = "TWILIO_AUTH_TOKEN"  # noqa: S105 - the name of a variable


class InitRun:
    """A run of `offhook init`. Nothing is written before everything has been asked."""

    def __init__(
        self, folder: Path, number: str | None, environ: Mapping[str, str], *, asks: bool
    ) -> None:
        self._folder = folder
        self._number = number
        self._environ = environ
        self._asks = asks
        self._new: dict[str, str] = {}
        """Values to write into .env, by variable."""

    def run(self) -> None:
        """Ask, check and write. Raises UserError, or typer.Abort on Ctrl-C: nothing is changed."""
        is_new = self._look()
        if not is_new and self._number is not None:
            raise typer.BadParameter(
                f"{files.APP} is there: write the number into its lines.", param_hint="--number"
            )
        before = self._read(files.DOTENV)
        own = dotenv.dotenv_values(self._folder / files.DOTENV, interpolate=False)
        both = [*own.items(), *self._environ.items()]
        self._env = {name: value.strip() for name, value in both if value and value.strip()}
        app = self._app(is_new=is_new)
        self._deepgram(app)
        rest = self._twilio(app)
        if is_new:
            self._choose_number(rest)
        made = self._files(before, is_new=is_new)
        write_all(made)
        self._tell(made, is_new=is_new)

    # --- the folder ---

    def _look(self) -> bool:
        """Return whether the agent is new. Raises UserError for a folder that cannot take it."""
        folder = self._folder
        try:
            if folder.exists() and not folder.is_dir():
                raise UserError(
                    "E-INIT-02",
                    f"{folder} cannot be written: it is not a folder.",
                    "Name a folder that you may write to: offhook init FOLDER",
                )
            if (folder / files.APP).exists():
                print(f"{folder / files.APP} is there: .env, .gitignore and schemas are completed.")
                return False
            taken = [name for name in files.OF_THE_USER if (folder / name).exists()]
            is_empty = not folder.exists() or not any(folder.iterdir())
        except OSError as error:
            raise UserError(
                "E-INIT-02",
                f"{folder} cannot be written: {error.strerror or error}.",
                "Name a folder that you may write to: offhook init FOLDER",
            ) from None
        if taken:
            raise UserError(
                "E-INIT-01",
                f"{', '.join(taken)} would be overwritten in {folder}. Nothing was written.",
                "Name another folder: offhook init FOLDER",
            )
        if not is_empty:
            print(f"{folder} is not empty. What is in it stays as it is.")
        return True

    def _read(self, name: str) -> str | None:
        path = self._folder / name
        try:
            return path.read_text(encoding="utf-8") if path.exists() else None
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(
                "E-CFG-03",
                f"{path} cannot be read: {error}.",
                "Make it a readable UTF-8 text file.",
            ) from None

    def _app(self, *, is_new: bool) -> AppConfig:
        """Return the configuration, for the addresses of Deepgram and Twilio."""
        path = self._folder / files.APP
        document = yamlfile.parse("", path) if is_new else yamlfile.read(path)
        return app_of(document, self._env)

    # --- the accounts ---

    def _deepgram(self, app: AppConfig) -> None:
        key = self._known(DEEPGRAM)
        url = app.deepgram.url
        for _ in range(TRIES):
            if key is None:
                key = self._ask("Deepgram API key (hidden; Enter to skip)", keys.why_no_secret)
                if key is None:
                    return
                self._new[DEEPGRAM] = key
            with waiting("asking Deepgram"):
                check = run(check_deepgram_key(key, url))
            _show(check)
            if check.status != "bad" or DEEPGRAM not in self._new:
                return
            key = None
            print("Another key? Enter keeps this one.")

    def _twilio(self, app: AppConfig) -> RestAccount | None:
        """Return the account of REST requests, if its credentials are right."""
        for _ in range(TRIES):
            sid = self._new.get(SID) or self._known(SID)
            if sid is None:
                title = "Twilio Account SID (AC…; Enter to skip)"
                sid = self._ask(title, keys.why_no_account_sid, hidden=False)
                if sid is None:
                    return None
                self._new[SID] = sid
            token = self._known(TOKEN)
            if token is None:
                token = self._ask("Twilio Auth Token (hidden; Enter to skip)", keys.why_no_secret)
                if token is None:
                    return None
                self._new[TOKEN] = token
            account = RestAccount(sid, sid, token.split(",")[0].strip(), app.twilio.rest_origin)
            with waiting("asking Twilio"):
                check = run(_asked(account, check_twilio_account))
            _show(check)
            if check.status != "bad":
                return account
            if TOKEN not in self._new:
                return None
            print("Another token? Enter keeps this one.")
        return None

    def _known(self, name: str) -> str | None:
        """Return the value that a variable has already."""
        return secret_of(self._env, name)

    def _ask(
        self, title: str, why_not: Callable[[str], str | None], *, hidden: bool = True
    ) -> str | None:
        """Return what is typed; None if nothing is, or nobody can be asked."""
        while self._asks:
            typed = typer.prompt(title, default="", show_default=False, hide_input=hidden)
            text = keys.cleaned(typed)
            if not text:
                return None
            why = why_not(text)
            if why is None:
                return text
            print(f"  {why}")
        return None

    def _choose_number(self, account: RestAccount | None) -> None:
        if account is None:
            return
        try:
            with waiting("asking Twilio"):
                found = run(_asked(account, lambda rest: rest.numbers()))
        except (TwilioRefusedError, TwilioUnreachableError) as error:
            problem = error.problem()
            print(f"Numbers: {problem.what}\n  → {problem.fix}")
            return
        has = [one.phone_number for one in found]
        if self._number is not None:
            if self._number not in has:
                raise UserError(
                    "E-INIT-03",
                    f"The Twilio account does not have this number; it has {len(has)}."
                    " Nothing was written.",
                    "Leave --number out to choose one.",
                )
        elif not found:
            print("Numbers: the account has none yet.")
            print("  → Buy one that takes calls: Twilio Console, Phone Numbers, Buy a number.")
        elif len(found) == 1:
            self._number = has[0]
            print(f"Numbers: {has[0]} is the account's only one, and the agent's.")
        else:
            self._number = self._choice(found)

    def _choice(self, found: Sequence[RestNumber]) -> str | None:
        if not self._asks:
            print(f"Numbers: the account has {len(found)}; the agent answers any of them.")
            return None
        print("Numbers of the account:")
        for index, one in enumerate(found[:SHOWN_MAX], 1):
            answered = f"{urls.origin(one.voice_url)} answers it now" if one.voice_url else ""
            print(f"  {index:2}  {one.phone_number}  {inert(answered)}".rstrip())
        known = {str(index): one.phone_number for index, one in enumerate(found, 1)}
        known |= {one.phone_number: one.phone_number for one in found}
        while True:
            title = "Which does the agent answer? (Enter: any of them)"
            typed = typer.prompt(title, default="", show_default=False)
            if not typed.strip():
                return None
            if typed.strip() in known:
                return known[typed.strip()]
            print("  Write the number in the first column.")

    # --- writing ---

    def _files(self, before: str | None, *, is_new: bool) -> list[NewFile]:
        made = files.user_files(self._number) if is_new else {}
        named = {
            **made,
            **files.schema_files(scenario_schema.as_text()),
            files.GITIGNORE: files.gitignore_text(self._read(files.GITIGNORE)),
        }
        every = [self._file(name, text) for name, text in named.items()]
        env = files.dotenv_text(before, self._new)
        every.append(self._file(files.DOTENV, env, mode=PRIVATE))
        return [one for one in every if one is not None]

    def _file(self, name: str, text: str, mode: int | None = None) -> NewFile | None:
        """Return a file to write; None if it is as it should be."""
        path = self._folder / name
        if not path.exists():
            return NewFile(path, text) if mode is None else NewFile(path, text, mode=mode)
        path = path.resolve()  # the file that a link leads to, not the link
        before, now = path.read_bytes(), path.stat().st_mode & 0o777
        if before == text.encode() and (mode is None or now == mode):
            return None
        return NewFile(path, text, before, now if mode is None else mode)

    def _tell(self, made: Sequence[NewFile], *, is_new: bool) -> None:
        print(f"Written in {self._folder}:" if made else "All is there.")
        for one in made:
            print(f"  {os.path.relpath(one.path, self._folder.resolve())}")
        missing = [
            name
            for name in (DEEPGRAM, SID, TOKEN)
            if name not in self._new and self._known(name) is None
        ]
        if missing:
            print(f"\nNot set yet, to be written into {self._folder / files.DOTENV}:")
            print(f"  {', '.join(missing)}")
        print("\nNext:")
        if self._folder.resolve() != Path.cwd():
            print(f"  cd {self._folder}")
        steps = [
            ("offhook rehearse scenarios", "a first call, without an account"),
            ("offhook doctor", "what is still missing, with the command for it"),
            ("offhook dev", "answer your number from this machine"),
        ]
        for command, what in steps if is_new else steps[1:]:
            print(f"  {command:28}{what}")


def _show(check: Check) -> None:
    print(f"{check.name}: {check.reason}")
    if check.command:
        print(f"  → {check.command}")


async def _asked(account: RestAccount, ask: Callable[[TwilioRest], Awaitable[_T]]) -> _T:
    async with egress.client([account.origin]) as http:
        return await ask(TwilioRest(account, http))
