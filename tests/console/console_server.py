"""`offhook serve` as a person runs it, with the agents of this folder, and who is signed in."""

import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from playwright.async_api import Browser, BrowserContext, Page
from sqlalchemy import Connection, make_url
from tests.cli.served import Serving, serving
from tests.console import chromium
from tests.console.chromium import Watched
from tests.waiting import until_it

from offhook.api.signed_in import COOKIE
from offhook.records import database
from offhook.records.database import clock_ms
from offhook.testing.simulator.deepgram.script import Script, ScriptFunctionCall, ScriptTurn
from offhook.users import accounts, sessions
from offhook.users.accounts import User
from offhook.users.principal import Role

GREETING = "Hello! How can I help you today?"
HOURS = "What are your opening hours?"
OPEN = "We are open from Monday to Friday, from nine in the morning until six in the evening."
ORDER = "Is my order ready?"
READY = "Yes, your order is ready."
BYE = "Thank you for calling. Goodbye!"
WHAT_ELSE = "Of course, what else?"
PASSWORD = "correct horse battery staple"

SCRIPT = Script(
    turns=[
        ScriptTurn(hear=HOURS, say=[OPEN]),
        ScriptTurn(
            hear=ORDER,
            function_calls=[ScriptFunctionCall(name="order_status", arguments={"number": "4217"})],
            say=[READY],
        ),
    ],
    fallback=ScriptTurn(hear="Thank you, goodbye.", say=[BYE]),
    silence_ms=400,
    reply_ms=50,
)
"""What the stand-in hears and says, turn by turn, in every call."""

BUILT = Path(chromium.__file__).parents[2] / "src/offhook/console/static/index.html"
AGENTS = Path(__file__).with_name("agents")


class ConsoleServer:
    """A running server, and its console."""

    def __init__(self, serving: Serving, url: str) -> None:
        self.serving = serving
        self.url = url
        """URL of the operator's listener."""

    @property
    def public_url(self) -> str:
        """URL that calls come to."""
        return self.serving.url

    @asynccontextmanager
    async def page(
        self,
        browser: Browser,
        path: str | None = "/live",
        *,
        user: str | None = None,
        role: Role = Role.ADMIN,
        signed_in: bool = True,
        **options: Any,
    ) -> AsyncIterator[Watched]:
        """Open a path of the console, signed in as a user, or as by a link, as an admin.

        With None nothing is opened yet, for a test that adds a script first. `options` are of
        chromium.context.
        """
        async with chromium.context(browser, **options) as context:
            if signed_in:
                await self.sign_in(context, user, role)
            async with chromium.watched(context) as watched:
                if path is not None:
                    await watched.page.goto(self.url + path)
                yield watched

    async def sign_in(
        self, context: BrowserContext, user: str | None = None, role: Role = Role.ADMIN
    ) -> None:
        """Give a profile the cookie of a session, as signing in does."""
        with self._database() as connection:
            if user is not None and accounts.find(connection, user) is None:
                accounts.add(connection, User(user, role, 0, "none"))
            secret = sessions.begin(connection, user, clock_ms(connection))
        await context.add_cookies([{"name": COOKIE, "value": secret, "url": self.url}])

    async def add_operator(self, name: str) -> None:
        """Add a user with the role operator and PASSWORD, as an admin does."""
        person = {"name": name, "role": "operator", "password": PASSWORD}
        (await self.ask("POST", "/api/v1/users", json=person)).raise_for_status()

    def sign_in_code(self) -> str:
        """Make a code that signs in once, as `offhook users link` does."""
        with self._database() as connection:
            return sessions.make_link(connection, clock_ms(connection))

    @contextmanager
    def _database(self) -> Iterator[Connection]:
        engine = database.open_engine(make_url(f"sqlite:///{self.serving.records}/offhook.db"))
        try:
            with engine.begin() as connection:
                yield connection
        finally:
            engine.dispose()

    async def act(self, call_sid: str, operation: str, **arguments: Any) -> httpx2.Response:
        """Have an operation done on a live call, with the API's token."""
        path = f"/api/v1/calls/{call_sid}/{operation}"
        return (await self.ask("POST", path, json=arguments)).raise_for_status()

    async def ask(self, method: str, path: str, **options: Any) -> httpx2.Response:
        """Send a request with the API's token."""
        async with httpx2.AsyncClient(
            trust_env=False, verify=False, headers=self.serving.headers
        ) as http:
            return await http.request(method, self.url + path, timeout=60, **options)

    async def until_stored(self, call_sid: str) -> None:
        """Wait until the record has the end of a call."""
        path = f"/api/v1/calls/{call_sid}"
        await until_it(lambda: self._is_stored(path))

    async def _is_stored(self, path: str) -> bool:
        answer = await self.ask("GET", path)
        return answer.is_success and answer.json()["call"]["duration_ms"] is not None


async def sign_in_as(page: Page, name: str) -> None:
    """Sign in on the page that asks for it, with PASSWORD."""
    await page.get_by_label("Name").fill(name)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.keyboard.press("Enter")


def require_built() -> None:
    """Fail where the page is not built."""
    if not BUILT.exists():
        pytest.fail("The console is not built: run make console.", pytrace=False)


@asynccontextmanager
async def console_server(
    folder: Path, *arguments: str, script: Script = SCRIPT
) -> AsyncIterator[ConsoleServer]:
    """Run `offhook serve` with the agents of this folder and with its records in `folder`."""
    shutil.copytree(AGENTS, folder, dirs_exist_ok=True)
    async with serving(folder, "--config", "offhook.yaml", *arguments, script=script) as made:
        yield ConsoleServer(made, await made.operator_url())
