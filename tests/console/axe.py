"""axe-core in a page: what in it keeps somebody from using it."""

from importlib import resources
from typing import Any

from playwright.async_api import Page

AXE = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")
SERIOUS = ("serious", "critical")


async def violations(
    page: Page, part: str | None = None, rules: dict[str, Any] | None = None
) -> list[dict[str, Any]]:
    """Return what axe finds in a page, or in the part of it that a selector names.

    `rules` are options of `axe.run`; without them all rules are checked.
    """
    if await page.evaluate("!window.axe"):
        await page.evaluate(AXE)
    # Without what passes, which axe would describe at length.
    options = {"resultTypes": ["violations"], **(rules or {})}
    found: list[dict[str, Any]] = await page.evaluate(
        "async ([part, options]) => (await axe.run(part ?? document, options)).violations",
        [part, options],
    )
    return found


async def serious(
    page: Page, part: str | None = None, rules: dict[str, Any] | None = None
) -> list[str]:
    """Return what axe calls serious or critical in a page, as `violations` does."""
    return [
        f"{one['impact']}: {one['id']}: {node['html'][:200]}: {node['failureSummary'][:300]}"
        for one in await violations(page, part, rules)
        if one["impact"] in SERIOUS
        for node in one["nodes"]
    ]
