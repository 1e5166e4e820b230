"""Command `offhook dev`: a server, a tunnel to it, and a number that leads there."""

import contextlib
from typing import TYPE_CHECKING, Annotated

import typer

from offhook.cli import options

if TYPE_CHECKING:  # they take their time
    from offhook.config import AppConfig
    from offhook.config.app_reading import AppRead
    from offhook.dev.session import DevPlan


def dev(
    public_url: options.PublicUrl = None,
    number: Annotated[
        str | None,
        typer.Option(
            help="Number of the account to use. Default: the one of `lines`, or the only one.",
            metavar="+…",
        ),
    ] = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Use the number even if it points elsewhere; it is restored on exit."
        ),
    ] = False,
    port: Annotated[
        int | None,
        typer.Option(help="Port of this machine to serve on. Default: server.port.", max=65535),
    ] = None,
    config: options.Config = None,
) -> None:
    """Answer one of your numbers from this machine, until Ctrl-C.

    Serves, opens a tunnel (unless there is a public URL) and points the number there. On exit, the
    number's previous settings are restored; after a crash, at the next start. New calls get changed
    agent files and functions.
    """
    import os

    from offhook.cli.numbers import opened
    from offhook.concurrency.event_loop import run
    from offhook.config import Overrides
    from offhook.config.app_reading import read_app
    from offhook.dev.session import DevSession

    if number is not None:
        options.require_e164(number)
    read = read_app(config, os.environ, Overrides(port=port, public_url=public_url))

    async def develop() -> int:
        async with opened(read.config) as account:
            session = DevSession(account, lambda: _plan(read, number, force=force), _say)
            return await session.run()

    raise typer.Exit(run(develop()))


def _say(words: str) -> None:
    # A terminal that was closed must not keep the number from being put back.
    with contextlib.suppress(OSError, ValueError):
        print(words, flush=True)


def _plan(read: "AppRead", number: str | None, *, force: bool) -> "DevPlan":
    """Return what is to be done. Raises UserError without keys, a free port or a tunnel."""
    import os

    from offhook.config.environment import read_environment
    from offhook.dev.changed_files import ChangedFiles
    from offhook.dev.session import DevPlan
    from offhook.dev.tunnels import Tunnel, find_program
    from offhook.serving.listen import listen
    from offhook.serving.options import module_command

    read.config.require_deepgram_key()
    read.config.require_signing_secrets()
    server = read.config.server
    # Before anything is set up: a wrong address, and port 0.
    with listen(server.host, server.port) as sock:
        host, port = sock.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - it is compared
    shown = f"[{host}]" if ":" in host else host
    scheme = "https" if server.tls_cert else "http"
    environ = read_environment(os.environ)
    tunnel = None
    if server.public_url is None:
        tunnel = Tunnel(find_program(f"{scheme}://{shown}:{port}", environ), environ)
    path = read.document.path
    is_file = path.exists()
    given = ["--config", str(path)] if is_file else []

    def serve(public_url: str) -> list[str]:
        serving = [*module_command("offhook"), "serve", "--show", "--port", str(port)]
        return [*serving, "--public-url", public_url, *given]

    return DevPlan(
        public_url=server.public_url,
        tunnel=tunnel,
        serve=serve,
        environ=os.environ,
        address=(host, port),
        has_tls=scheme == "https",
        number=number,
        lines=read.file.lines,
        force=force,
        files=ChangedFiles(path.parent, read.config.records.folder) if is_file else None,
        reload=lambda: _reload(read.config),
    )


async def _reload(config: "AppConfig") -> str:
    """Have the server read its files again; return what is to be told of it. Raises UserError."""
    from offhook.cli.api_client import ApiClient, operator_url, token_of
    from offhook.observability.console_output import inert

    async with ApiClient(operator_url(config, None), token_of(config)) as client:
        answer = await client.reload()
    body = answer.body
    if answer.status != 200:
        what = "\n".join(map(inert, str(body["what"]).split("\n")))
        return f"{inert(body['code'])} {what}\n  → {inert(body['fix'])}"
    restart = f" A restart of offhook dev applies: {', '.join(body['restart'])}."
    return inert(
        f"New calls get: {', '.join(body['agents'])}." + (restart if body["restart"] else "")
    )
