"""Commands `offhook users …`: who may sign in to the console, and what they did."""

from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import typer

from offhook.cli import options
from offhook.cli.lazy_group import new_app
from offhook.users.principal import Role

if TYPE_CHECKING:
    from sqlalchemy import Connection

COMMAND_LINE: Final = "command line"
"""Actor of the audit log for this command; the space keeps it from being a user's name."""

app = new_app(no_args_is_help=True)

Name: TypeAlias = Annotated[str, typer.Argument(help="Name of the user, such as ada.")]


@app.callback()
def users() -> None:
    """Users of the console: add, list and remove them, and see what they did."""


@app.command()
def link(config: options.Config = None, url: options.Url = None) -> None:
    """Print a link that signs one browser in as an admin, once, within 15 minutes."""
    import os

    from offhook.cli.api_client import operator_url
    from offhook.cli.calls.record_access import upgraded
    from offhook.config import load_app
    from offhook.records.database import clock_ms
    from offhook.users import sessions

    found = operator_url(load_app(config, os.environ), url)
    with upgraded(config) as connection:
        code = sessions.make_link(connection, clock_ms(connection))
        _note(connection, "makeSignInLink")
    print(sessions.link_at(found, code))


@app.command()
def add(
    name: Name,
    role: Annotated[Role, typer.Option(help="Role of the user.")] = Role.VIEWER,
    config: options.Config = None,
) -> None:
    """Add a user. The password is asked for, or is the first line of a pipe."""
    from offhook.cli.calls.record_access import upgraded
    from offhook.records.database import clock_ms
    from offhook.users import accounts, passwords

    accounts.require_name(name)
    hashed = passwords.hash_of(_password(name))
    with upgraded(config) as connection:
        accounts.add(connection, accounts.User(name, role, clock_ms(connection), hashed))
        _note(connection, "addUser", name)
    print(f"{name} may sign in as {role.value}.")


@app.command("list")
def list_(config: options.Config = None, as_json: options.Json = False) -> None:
    """List the users."""
    from offhook.cli.calls import formatting
    from offhook.cli.calls.record_access import upgraded
    from offhook.users import accounts

    with upgraded(config) as connection:
        found = accounts.users(connection)
    if as_json:
        options.print_json(
            [{"name": u.name, "role": u.role.value, "since_ms": u.since_ms} for u in found]
        )
        return
    for user in found:
        print(f"{user.name}  {user.role.value}, since {formatting.local(user.since_ms)}")
    if not found:
        print("No users. Add one: offhook users add NAME --role admin")


@app.command()
def role(
    name: Name,
    role: Annotated[Role, typer.Argument(help="New role of the user.")],
    config: options.Config = None,
) -> None:
    """Give a user another role. They must sign in again."""
    from offhook.cli.calls.record_access import upgraded
    from offhook.users import accounts

    with upgraded(config) as connection:
        accounts.change(connection, name, role=role)
        _note(connection, "changeUser", name)
    print(f"{name} is {role.value} now.")


@app.command()
def password(name: Name, config: options.Config = None) -> None:
    """Set another password, asked for as by `add`. The user must sign in again."""
    from offhook.cli.calls.record_access import upgraded
    from offhook.users import accounts, passwords

    accounts.require_name(name)
    hashed = passwords.hash_of(_password(name))
    with upgraded(config) as connection:
        accounts.change(connection, name, password_hash=hashed)
        _note(connection, "changeUser", name)
    print(f"{name} has the new password.")


@app.command()
def remove(name: Name, config: options.Config = None) -> None:
    """Remove a user, whose sessions end within seconds."""
    from offhook.cli.calls.record_access import upgraded
    from offhook.users import accounts

    with upgraded(config) as connection:
        accounts.remove(connection, name)
        _note(connection, "removeUser", name)
    print(f"{name} is removed.")


@app.command()
def audit(
    limit: Annotated[int, typer.Option(help="Number of entries.", min=1, max=10_000)] = 100,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Print who did what, newest first: requests that were to change something, and sign-ins."""
    import dataclasses

    from offhook.cli.calls import formatting
    from offhook.cli.calls.record_access import opened, records_of
    from offhook.observability.console_output import inert
    from offhook.users import audit

    with opened(records_of(config)) as connection:
        found = audit.entries(connection, limit)
    if as_json:
        options.print_json([dataclasses.asdict(entry) for entry in found])
        return
    for entry in found:
        who = inert(entry.who) or "somebody who is not signed in"
        about = f" {inert(entry.about)}" if entry.about else ""
        print(f"{formatting.local(entry.at_ms)}  {who}: {entry.what}{about}, {entry.outcome}")
    if not found:
        print("No entries.")


def _note(connection: "Connection", what: str, about: str = "") -> None:
    """Write into the audit log what this command does, in the same transaction."""
    from offhook.records.database import clock_ms
    from offhook.users import audit

    entry = audit.AuditEntry(clock_ms(connection), COMMAND_LINE, what, about, 200)
    audit.note(connection, entry)


def _password(name: str) -> str:
    """Return a new password: typed twice at a terminal, else the first line of the input."""
    import sys

    if not sys.stdin.isatty():
        return sys.stdin.readline(4096).rstrip("\r\n")
    asked: str = typer.prompt(f"Password of {name}", hide_input=True, confirmation_prompt=True)
    return asked
