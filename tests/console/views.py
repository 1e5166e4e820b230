"""The views of the console, as tests and pictures go through them."""

import re
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from playwright.async_api import Page, expect

FOUR_SECONDS: Final = re.compile(r"^\d:(0[4-9]|[1-5]\d)$")
"""A duration of four seconds or more: on a slow machine the page is looked at later."""


class View(NamedTuple):
    """A view, its folder in web/src/views, and its path; or a state of it, and what leads there.

    In the path `{live}` is a live call, `{past}` one that is over, and `{silent}` one that is over
    and has no recording. `enter` brings a page that shows the view into the state; a picture of it
    begins at what the selector `shown` finds.
    """

    name: str
    folder: str
    path: str
    enter: Callable[[Page], Awaitable[None]] | None = None
    shown: str = "body"

    async def open(self, page: Page, url: str, **calls: str) -> None:
        """Open the view, and wait until it is there with what it has loaded."""
        await page.goto(url + self.path.format(**calls))
        await expect(page.locator("main :is(h1, h2)").first).to_be_visible()
        await until_loaded(page)
        if self.enter is not None:
            await self.enter(page)
            await until_loaded(page)


async def until_loaded(page: Page) -> None:
    """Wait until nothing says any more that it is being loaded."""
    await expect(page.locator(".loading")).to_have_count(0)
    await expect(page.get_by_text("Loading")).to_have_count(0)


async def press(page: Page, name: str) -> None:
    await page.get_by_role("button", name=name, exact=True).first.click()


async def listen(page: Page) -> None:
    await press(page, "Listen")
    await expect(page.get_by_text("You hear both sides.")).to_be_visible()


async def take_over(page: Page) -> None:
    await press(page, "Take over")
    await expect(page.get_by_text("You speak with the caller.")).to_be_visible()
    await page.get_by_label("What the agent should know").fill("Ada has her table at seven.")


async def transfer(page: Page) -> None:
    await press(page, "Transfer…")
    await expect(page.get_by_role("dialog").get_by_label("To", exact=True)).to_be_visible()


async def hang_up(page: Page) -> None:
    await press(page, "Hang up…")
    await expect(page.get_by_role("dialog")).to_be_visible()


async def call(page: Page) -> None:
    await press(page, "Call")
    await expect(page.get_by_role("group", name="Keypad")).to_be_visible()
    await expect(page.get_by_role("log")).to_contain_text("How can I help")
    await expect(page.get_by_text(FOUR_SECONDS)).to_be_visible()  # it has been said


async def call_and_hang_up(page: Page) -> None:
    await call(page)
    await page.keyboard.press("h")
    await expect(page.get_by_role("link", name="See this call")).to_be_visible()
    await expect(page.get_by_text("The call has ended")).to_be_visible()


async def make_a_link(page: Page) -> None:
    await press(page, "Link that expires…")
    await expect(page.get_by_role("dialog")).to_be_visible()


async def add_a_user(page: Page) -> None:
    await press(page, "Add a user…")
    await expect(page.get_by_role("dialog")).to_be_visible()


async def try_a_function(page: Page) -> None:
    of = page.locator(".agents-function", has_text="order_status")
    await of.get_by_role("button", name="Try it").click()
    await of.get_by_label("number").fill("4217")
    await of.get_by_role("button", name="Run it").click()
    await expect(of).to_contain_text("order 4217 is ready")


async def list_shortcuts(page: Page) -> None:
    await page.keyboard.press("?")
    await expect(page.get_by_role("dialog")).to_be_visible()


FUNCTION = ".agents-function:has(input)"

VIEWS = (
    View("live", "live", "/live"),
    View("live-call", "live", "/live/{live}"),
    View("phone", "phone", "/phone"),
    View("calls", "calls", "/calls"),
    View("call", "call", "/calls/{past}"),
    View("quality", "quality", "/quality"),
    View("agents", "agents", "/agents"),
    View("agent", "agents", "/agents/reception"),
    View("users", "users", "/users"),
)

STATES = (
    View("live-listening", "live", "/live/{live}", listen),
    View("live-taken-over", "live", "/live/{live}", take_over),
    View("live-transfer", "live", "/live/{live}", transfer),
    View("live-hang-up", "live", "/live/{live}", hang_up),
    View("phone-call", "phone", "/phone?agent=reception", call),
    View("phone-ended", "phone", "/phone?agent=reception", call_and_hang_up),
    View("call-unrecorded", "call", "/calls/{silent}"),
    View("call-link", "call", "/calls/{past}", make_a_link),
    View("agent-function", "agents", "/agents/reception", try_a_function, FUNCTION),
    View("users-add", "users", "/users", add_a_user),
    View("users-audit", "users", "/users?show=audit"),
    View("shortcuts", "live", "/live/{live}", list_shortcuts),
)
"""What the views look like once something is done in them. The page has a microphone."""


async def drawn(page: Page) -> list[bool]:
    """Whether there is more than a line in the wave of the caller, and of the agent."""
    found: list[bool] = await page.evaluate(
        """() => {
          const root = document.querySelector(".call-wave-box > div")?.shadowRoot;
          if (!root) return [];
          return [...root.querySelectorAll(".canvases > div")].map((side) =>
            [...side.querySelectorAll("canvas")].some((canvas) => {
              const { width, height } = canvas;
              const dots = canvas.getContext("2d").getImageData(0, 0, width, height).data;
              let filled = 0;
              for (let at = 3; at < dots.length; at += 4) if (dots[at]) filled += 1;
              return filled > 8 * width;
            }));
        }"""
    )
    return found
