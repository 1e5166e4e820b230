"""What the tests of the console share: one Chromium, one server and one loop for each worker.

A server and a browser take seconds to start, so all tests of a worker use the same ones; who kills
a server or gives the microphone a voice has one of their own (console_server, chromium).
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser
from tests.console.chromium import Watched, chromium
from tests.console.console_server import ConsoleServer, console_server, require_built

HERE = Path(__file__).parent
ONE_LOOP = pytest.mark.asyncio(loop_scope="session")


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    # Before pytest-asyncio reads it, to choose the scope of the loop.
    metafunc.definition.add_marker(ONE_LOOP, append=False)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == HERE and pytest_asyncio.is_async_test(item):
            item.add_marker(ONE_LOOP, append=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """A Chromium whose pages each have a profile of their own."""
    async with chromium() as made:
        yield made


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ConsoleServer]:
    """A server that runs for all tests: no test stops it, or counts on an empty record."""
    async with console_server(tmp_path_factory.mktemp("console")) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def console(browser: Browser, server: ConsoleServer) -> AsyncIterator[Watched]:
    """A page of the console on `server`, signed in as admin, at /live."""
    require_built()
    async with server.page(browser) as made:
        yield made
