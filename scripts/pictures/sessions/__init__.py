"""The terminal sessions that are drawn."""

from typing import Final

from scripts.pictures.terminal import ROOT, Session

_FRONT_DESK: Final = ROOT / "examples" / "front-desk"

MISTAKES: Final = """\
settings:
  listen: {provider: {type: deepgram, model: nova-3}}
  think:
    provider: {type: open_ai, model: gpt-4o-mini}
    promt: You answer the telephone of a bicycle shop.
  speak: {provider: {type: deepgram, model: flux-kit-en}}
"""

RECORDED: Final[dict[str, Session]] = {
    "demo": Session("offhook demo", "offhook demo --once", ("demo", "--once")),
    "rehearse": Session(
        "offhook rehearse",
        "offhook rehearse scenarios/booking.yaml --config offhook.yaml --standin dialogue.yaml",
        (
            "rehearse",
            str(_FRONT_DESK / "scenarios" / "booking-corrected.yaml"),
            "--config",
            str(_FRONT_DESK / "offhook.yaml"),
            "--standin",
            str(_FRONT_DESK / "dialogue.yaml"),
        ),
    ),
    "doctor": Session("offhook doctor", "offhook doctor", ("doctor",), exit_code=1),
    "check": Session(
        "offhook check",
        "offhook check shop.yaml",
        ("check", "shop.yaml"),
        files=(("shop.yaml", MISTAKES),),
        exit_code=1,
    ),
}
