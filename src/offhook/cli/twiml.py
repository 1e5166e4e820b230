"""Command `offhook twiml`: print what to paste into Twilio's console."""

from typing import TYPE_CHECKING, Annotated, Final

import typer

from offhook.cli import options

if TYPE_CHECKING:
    from offhook.config import Agent, Announcement, Config

HANG_UP_URL: Final = "https://handler.twilio.com/twiml/EH-OF-THE-FIRST-DOCUMENT"
"""Place in the fallback's document for the URL of the other document, which ends the call."""


def twiml(
    public_url: options.PublicUrl = None,
    fallback: Annotated[
        bool,
        typer.Option(
            "--fallback",
            help="Print what to host elsewhere, for calls that come while this server is down.",
        ),
    ] = False,
    to: Annotated[
        str | None,
        typer.Option(
            help="With --fallback: the called number whose agent's fallback is printed. Default:"
            " the default line.",
            metavar="NUMBER",
            show_default=False,
        ),
    ] = None,
    hang_up_url: Annotated[
        str,
        typer.Option(
            help="With --fallback and voicemail: the address of the document that ends the call.",
            metavar="URL",
            show_default=False,
        ),
    ] = HANG_UP_URL,
    as_json: options.Json = False,
) -> None:
    """Print the TwiML Bin and the webhook URLs to paste into the Twilio Console."""
    import os

    from offhook import config

    overrides = config.Overrides(public_url=public_url)
    loaded = config.load(None, os.environ, overrides=overrides)
    if fallback:
        _print_fallback(loaded, to, hang_up_url, as_json=as_json)
        return
    origin = loaded.server.public_url
    if origin is None:
        raise typer.BadParameter("Give it, or set server.public_url.", param_hint="--public-url")
    agent = loaded.agent_for(None)
    announcement = _filled(agent).announcement if agent is not None else None
    bin_ = _bin(origin, announcement) if loaded.twilio.bin else None
    voice, status = f"{origin}/twilio/voice", f"{origin}/twilio/status"
    if as_json:
        options.print_json(
            {"bin": bin_, "voice_url": voice, "status_callback": status, "method": "POST"}
        )
        return
    if bin_ is None:
        print("A TwiML Bin is not answered: twilio.bin is off.\n")
    else:
        print("TwiML Bin, the least there is. Create one in the Twilio Console with this text,")
        print('and choose it at your number under Voice, "A call comes in":\n')
        print(f"{bin_}\n")
    print("Webhooks, which can also choose the agent by the called number, and fall back to a")
    print("sentence, a person or voicemail. Set them at your number under Voice:\n")
    print(f"  A call comes in      Webhook  {voice}  HTTP POST")
    print(f"  Call status changes           {status}  HTTP POST")
    print("\nFor the time when this server is down: offhook twiml --fallback")


_TWILIOS = {"caller": "{{From}}", "called": "{{To}}", "call_sid": "{{CallSid}}"}
"""Variables that Twilio fills in a TwiML Bin (twilio.md §2.7)."""


def _filled(agent: "Agent") -> "Agent":
    """Return an agent for a Bin, with the variables that all calls share."""
    nothing = {"date": "", "time": ""}
    return agent.filled({**nothing, **agent.variables, "agent": agent.name, **_TWILIOS})


def _bin(origin: str, announcement: "Announcement | None") -> str:
    """Return the TwiML of Deepgram's tutorial (twilio.md §2.2): say, connect, then hang up."""
    from offhook.calls import responses
    from offhook.twilio import twiml

    return _indented(
        twiml.connect(
            stream_url=f"wss://{origin.removeprefix('https://')}/twilio",
            after_url=None,
            stream_status_url=None,
            token=None,
            announcement=responses.announced(announcement),
            apology=None,
        )
    )


def _indented(text: str) -> str:
    from xml.etree import ElementTree

    root = ElementTree.fromstring(text.encode())  # noqa: S314 - our own document, to indent it
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(root, "unicode")}'


# --- for the time when nothing of ours is up ------------------------------------------------------


def _print_fallback(loaded: "Config", to: str | None, hang_up_url: str, *, as_json: bool) -> None:
    if to is not None:
        options.require_e164(to)
    agent = loaded.agent_for(to)
    if agent is None:
        raise typer.BadParameter(
            "No line answers it: give --to with a number of your lines.", param_hint="--to"
        )
    document = _fallback(_filled(agent), hang_up_url)
    ends = _indented(_hang_up()) if agent.fallback.voicemail is not None else None
    if as_json:
        options.print_json({"fallback": document, "hang_up": ends, "method": "POST"})
        return
    print("Host this where it is served while Offhook is down: a TwiML Bin, or a static host that")
    print("answers POST with Content-Type text/xml.\n")
    if ends is not None:
        print("First, what ends the call after a message:\n")
        print(f"{ends}\n")
        if hang_up_url == HANG_UP_URL:
            print("Then the fallback; run this again with --hang-up-url and the address of the")
            print("first to have it filled in:\n")
        else:
            print("Then the fallback:\n")
    print(f"{document}\n")
    print("Set it at your number under Voice, as what follows when the primary handler fails")
    print("(in the API: VoiceFallbackUrl, with VoiceFallbackMethod POST).")
    print("Twilio asks there when Offhook does not answer within 15 s, or answers with an error.")


def _fallback(agent: "Agent", hang_up_url: str) -> str:
    """Return the TwiML of an agent's fallback; the configuration has checked what it dials."""
    from offhook.calls import responses

    after_url = hang_up_url if agent.fallback.voicemail is not None else None
    return _indented(responses.fallback(agent, after_url))


def _hang_up() -> str:
    from offhook.twilio import twiml

    return twiml.hang_up()
