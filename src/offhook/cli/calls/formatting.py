"""Times, lengths, amounts and numbers as text for a terminal."""

from datetime import datetime

from offhook.observability.console_output import inert
from offhook.records.models import Totals


def local(ms: int) -> str:
    """Return a moment in ms since 1970 as date and time in this machine's zone."""
    return f"{local_day(ms)} {local_time(ms)}"


def local_day(ms: int) -> str:
    """Return the date of a moment in ms since 1970 in this machine's zone."""
    return f"{datetime.fromtimestamp(ms / 1000):%Y-%m-%d}"


def local_time(ms: int) -> str:
    """Return the time of day of a moment in ms since 1970 in this machine's zone."""
    return f"{datetime.fromtimestamp(ms / 1000):%H:%M:%S}"


def length(ms: int | None) -> str:
    """Return minutes and seconds, or `live` for a call that has not ended."""
    if ms is None:
        return "live"
    minutes, seconds = divmod(ms // 1000, 60)
    return f"{minutes}:{seconds:02}"


def money(micros: int | None, currency: str) -> str:
    """Return an amount, given in millionths of the currency."""
    return "" if micros is None else f"{currency} {micros / 1_000_000:.4f}"


def party(number: str) -> str:
    """Return a phone number, or `unknown`."""
    return inert(number) or "unknown"


def ending(fault: str, slug: str, words: str) -> str:
    """Return how a call ended, and who ended it."""
    whose = "as it should" if fault == "nobody" else f"{fault}'s doing"
    return inert(f"{words} ({whose}) [{slug}]")


def sum_of(totals: Totals, currency: str) -> str:
    """Return totals as one line."""
    calls = "1 call" if totals.calls == 1 else f"{totals.calls} calls"
    parts = [calls + (f", {totals.live} live" if totals.live else "")]
    parts.append(f"{totals.twilio_minutes} min billed by Twilio")
    parts.append(f"{totals.stream_minutes} min of streams")
    parts += [
        f"{minutes:.1f} min of Deepgram ({inert(tier)})"
        for tier, minutes in totals.deepgram_minutes.items()
    ]
    if totals.cost_micros is not None:
        without = f" ({totals.without_cost} without)" if totals.without_cost else ""
        parts.append(money(totals.cost_micros, currency) + without)
    return " · ".join(parts)
