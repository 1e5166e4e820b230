"""Command `offhook explain`: print what the page of errors says about a code or an ending."""

from typing import Annotated

import typer


def explain(
    code: Annotated[
        str | None,
        typer.Argument(
            help="Code of an error (E-DG-02) or slug of an ending (agent_lost). Default: list all.",
            metavar="CODE",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Explain an error: what it means, why it occurs, and how to fix it."""
    from offhook.doctor import error_page

    page = error_page.read()
    if code is None:
        width = max(map(len, page.sections))
        for name, section in page.sections.items():
            print(f"{name:{width}}  {section.title}")
        return
    found = page.find(code)
    if found is None:
        near = ", ".join(page.nearest(code)) or "offhook explain lists all"
        raise typer.BadParameter(f"{code!r} is no code. Near it: {near}.", param_hint="CODE")
    print(found)
