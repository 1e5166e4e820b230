"""The views of the console, as tests and pictures go through them."""

from typing import NamedTuple

from playwright.async_api import Page, expect


class View(NamedTuple):
    """A view, its folder in web/src/views, and its path.

    In the path `{live}` is a live call, and `{past}` one that is over.
    """

    name: str
    folder: str
    path: str

    async def open(self, page: Page, url: str, **calls: str) -> None:
        """Open the view, and wait until it is there with what it has loaded."""
        await page.goto(url + self.path.format(**calls))
        await expect(page.locator("main :is(h1, h2)").first).to_be_visible()
        await expect(page.locator(".loading")).to_have_count(0)


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
