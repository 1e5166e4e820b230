"""`offhook serve` as a person runs it, with the agents of this folder, and who is signed in."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, BrowserContext
from tests.cli.served import Serving, serving
from tests.console import chromium
from tests.console.chromium import Watched

from offhook.api.paths import SESSION
from offhook.records import database
from offhook.testing.simulator.deepgram.script import Script, ScriptFunctionCall, ScriptTurn
from offhook.users import sessions

GREETING = "Hello! How can I help you today?"
HOURS = "What are your opening hours?"
OPEN = "We are open from Monday to Friday, from nine in the morning until six in the evening."
ORDER = "Is my order ready?"
READY = "Yes, your order is ready."
BYE = "Thank you for calling. Goodbye!"
WHAT_ELSE = "Of course, what else?"

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
        self, browser: Browser, path: str = "/live", **options: Any
    ) -> AsyncIterator[Watched]:
        """Open a path of the console, signed in as admin. `options` are of chromium.context."""
        async with chromium.context(browser, **options) as context:
            await self.sign_in(context)
            async with chromium.watched(context) as watched:
                await watched.page.goto(self.url + path)
                yield watched

    def sign_in_code(self) -> str:
        """Make a code that signs in once, as `offhook users link` does."""
        engine = database.open_engine(
            database.url_of(f"sqlite:///{self.serving.records}/offhook.db")
        )
        with engine.begin() as connection:
            code = sessions.make_link(connection, database.clock_ms(connection))
        engine.dispose()
        return code

    async def sign_in(self, context: BrowserContext) -> None:
        """Sign in as an admin."""
        code = self.sign_in_code()
        answer = await context.request.post(self.url + SESSION, data={"code": code})
        assert answer.ok, await answer.text()


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
