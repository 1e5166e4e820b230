"""Command `offhook twiml`: print what to paste into Twilio's console."""

from typing import TYPE_CHECKING

import typer

from offhook.cli import options

if TYPE_CHECKING:
    from offhook.config import Agent, Announcement


def twiml(public_url: options.PublicUrl = None, as_json: options.Json = False) -> None:
    """Print the TwiML Bin to paste, and the webhook URLs, which do more than a Bin."""
    import os

    from offhook import config

    overrides = config.Overrides(public_url=public_url)
    loaded = config.load(None, os.environ, overrides=overrides)
    origin = loaded.server.public_url
    if origin is None:
        raise typer.BadParameter("Give it, or set server.public_url.", param_hint="--public-url")
    agent = loaded.agent_for(None)
    bin_ = _bin(origin, _announcement(agent)) if loaded.twilio.bin else None
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


_TWILIOS = {"caller": "{{From}}", "called": "{{To}}", "call_sid": "{{CallSid}}"}
"""Variables that Twilio fills in a TwiML Bin (twilio.md §2.7)."""


def _announcement(agent: "Agent | None") -> "Announcement | None":
    """Return the announcement for a Bin, with the variables that all calls share."""
    if agent is None:
        return None
    nothing = {"date": "", "time": ""}
    return agent.filled(
        {**nothing, **agent.variables, "agent": agent.name, **_TWILIOS}
    ).announcement


def _bin(origin: str, announcement: "Announcement | None") -> str:
    """Return the TwiML of Deepgram's tutorial (twilio.md §2.2): say, connect, then hang up."""
    from xml.etree import ElementTree

    from offhook.calls import responses
    from offhook.twilio import twiml

    text = twiml.connect(
        stream_url=f"wss://{origin.removeprefix('https://')}/twilio",
        after_url=None,
        stream_status_url=None,
        token=None,
        announcement=responses.announced(announcement),
        apology=None,
    )
    root = ElementTree.fromstring(text.encode())  # noqa: S314 - our own document, to indent it
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(root, "unicode")}'
