"""Commands `offhook numbers …`: where the calls of the account's numbers go."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import typer

from offhook.cli import options
from offhook.cli.lazy_group import new_app

if TYPE_CHECKING:  # they take their time
    from offhook.config import AppConfig
    from offhook.numbers.account_numbers import AccountNumbers, RestoredNumber

app = new_app(no_args_is_help=True)

_ASKING: Final = "asking Twilio"

Number: TypeAlias = Annotated[
    str | None,
    typer.Option("--number", help="Phone number of the account, in E.164 form.", metavar="+…"),
]


@app.callback()
def numbers() -> None:
    """Numbers of the Twilio account: list them, point one at Offhook, put it back."""


@app.command("list")
def list_(config: options.Config = None, as_json: options.Json = False) -> None:
    """List the account's numbers, and what answers their calls."""
    import os

    import msgspec

    from offhook.cli.progress import waiting
    from offhook.concurrency.event_loop import run
    from offhook.config import load_app
    from offhook.numbers.routes import NumberRoute
    from offhook.numbers.telling import was
    from offhook.twilio.rest import RestNumber

    loaded = load_app(config, os.environ)

    async def found() -> list[RestNumber]:
        async with opened(loaded) as account:
            return list(await account.all())

    with waiting(_ASKING):
        every = run(found())
    if as_json:
        options.print_json(
            [
                {"number": one.phone_number, "sid": one.sid, "name": one.friendly_name}
                | msgspec.to_builtins(NumberRoute.of(one))
                for one in every
            ]
        )
        return
    for one in every:
        print(f"{one.phone_number}  {was(NumberRoute.of(one))}")
    if not every:
        print("No numbers. Buy one: Twilio Console, Phone Numbers, Buy a number.")


@app.command("set")
def set_(
    number: Number = None,
    public_url: options.PublicUrl = None,
    force: Annotated[
        bool, typer.Option("--force", help="Use the number even if it points elsewhere.")
    ] = False,
    config: options.Config = None,
) -> None:
    """Have Offhook at the public URL answer a number: the one of `lines`, or the only one.

    Its fallback URL stays. `offhook numbers restore` puts back what it had.
    """
    import os

    from offhook.cli.progress import waiting
    from offhook.concurrency.event_loop import run
    from offhook.config import Overrides
    from offhook.config.app_reading import read_app
    from offhook.numbers.telling import was

    if number is not None:
        options.require_e164(number)
    read = read_app(config, os.environ, Overrides(public_url=public_url))
    origin = read.config.server.public_url
    if origin is None:
        raise typer.BadParameter("Give it, or set server.public_url.", param_hint="--public-url")

    async def point() -> tuple[str, str]:
        async with opened(read.config) as account:
            with account.kept.alone():
                chosen = await account.choose(number, read.file.lines)
                before = await account.point(chosen.sid, origin, "set", force=force)
                return chosen.phone_number, was(before)

    with waiting(_ASKING):
        phone_number, before = run(point())
    print(f"{phone_number} is answered at {origin}/twilio/voice (before: {before}).")
    print("  To put it back: offhook numbers restore")


@app.command("restore")
def restore(
    number: Number = None,
    force: Annotated[
        bool, typer.Option("--force", help="Put back even what somebody else has changed since.")
    ] = False,
    config: options.Config = None,
) -> None:
    """Put numbers back as they were before Offhook changed them: all of them, or one.

    Exit code 1 if somebody else has changed one since: it stays as it is.
    """
    import os

    from offhook.cli.progress import waiting
    from offhook.concurrency.event_loop import run
    from offhook.config import load_app
    from offhook.numbers.telling import restored

    if number is not None:
        options.require_e164(number)
    loaded = load_app(config, os.environ)

    async def put_back() -> "list[RestoredNumber]":
        async with opened(loaded) as account:
            with account.kept.alone():
                kept = [one for one in account.kept.all() if number in (None, one.phone_number)]
                return [await account.restore(one, force=force) for one in kept]

    with waiting(_ASKING):
        done = run(put_back())
    for one in done:
        print(restored(one))
    if not done:
        print("Nothing is to be put back.")
    if any(one.left for one in done):
        raise typer.Exit(1)


@asynccontextmanager
async def opened(config: "AppConfig") -> "AsyncIterator[AccountNumbers]":
    """Open the numbers of the configured account. Raises UserError E-TW-02."""
    from offhook.net import egress
    from offhook.numbers.account_numbers import AccountNumbers
    from offhook.numbers.kept_routes import KeptRoutes
    from offhook.twilio.rest import TwilioRest

    account = config.twilio.require_rest()
    kept = KeptRoutes(config.records.folder)
    async with egress.client([config.twilio.rest_origin]) as http:
        yield AccountNumbers(TwilioRest(account, http), account.sid, kept)
