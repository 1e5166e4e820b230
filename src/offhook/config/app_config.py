"""The content of offhook.yaml: every block, and which agent answers which number.

Blocks of some size are in modules of their own, such as server_settings.py.
"""

from pathlib import Path
from typing import Annotated, Any, Final, Literal

import pydantic
from pydantic import BeforeValidator, Field

from offhook import yamlfile
from offhook.config.deepgram_settings import DeepgramFileSettings
from offhook.config.fleet_settings import FleetFileSettings
from offhook.config.inbound_settings import InboundSettings
from offhook.config.parts import Country, Host, Part, PhoneNumber, Text, or_empty, phone_number
from offhook.config.records_settings import RecordsFileSettings
from offhook.config.server_settings import ServerFileSettings
from offhook.config.twilio_settings import TwilioFileSettings

DEFAULT: Final = "default"
"""Key of the line that answers every number that is not in `lines`."""

WEBHOOKS: Final = "/twilio"
"""Path of Twilio's streams; those of its webhooks begin with it."""


def _lines(value: Any) -> Any:
    if isinstance(value, str | list):
        raise yamlfile.refuse(
            "lines gives each called number its agent file.",
            'Write lines: {default: FILE}, or {"+1…": FILE}.',
        )
    return or_empty(value)


def _line(value: Any) -> Any:
    return value if value == DEFAULT else phone_number(value)


class LogSettings(Part):
    """The content of `logs:` in offhook.yaml."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The lowest level that is logged."""

    texts: bool = False
    """True if the log shows what is said and pressed in calls, and whole phone numbers."""


class OutboundSettings(Part):
    """The content of `outbound:` in offhook.yaml: the calls that we place."""

    agents: tuple[Path, ...] = ()
    """Agent files that place calls and answer no line; relative to offhook.yaml."""

    caller_id: PhoneNumber | None = None
    """The number that people see; None is the line of the agent."""

    calls_per_second: float = Field(default=1, gt=0, le=100)
    """Calls placed in a second: Twilio's own limit is 1 until it is raised (twilio.md §5.2)."""

    concurrent: int = Field(default=5, ge=1)
    """Calls that we place which may ring or go on at once."""


class DiallingSettings(Part):
    """The content of `dialling:` in offhook.yaml: the rules of dial_policy."""

    countries: tuple[Country, ...] | None = None
    """ISO codes; None: those of the numbers in `lines`, or US and CA if these have none."""

    sip_hosts: tuple[Host, ...] = ()
    """Hosts whose SIP addresses may be dialled."""

    calls_per_hour: int = Field(default=60, ge=0)
    """Calls that we place, and transfers, in an hour."""

    texts_per_hour: int = Field(default=60, ge=0)

    texts_per_call: int = Field(default=5, ge=0)
    """Texts that an agent may send in one call."""

    texts_per_number: int = Field(default=10, ge=0)
    """Texts to one number within an hour, from whichever call."""

    spend_per_hour: float = Field(default=20.0, ge=0)
    """Allowed cost of the calls and texts of an hour, by `price_per_call` and `price_per_text`."""

    price_per_call: float = Field(default=0.2, ge=0)
    """Estimated cost of a call: a minute's price times the minutes that it lasts."""

    price_per_text: float = Field(default=0.01, ge=0)
    """The price of a segment: 160 letters, or 70 when one is not in GSM's alphabet."""


class AppConfigFile(Part):
    """The content of offhook.yaml."""

    server: ServerFileSettings = ServerFileSettings()
    twilio: TwilioFileSettings = TwilioFileSettings()
    deepgram: DeepgramFileSettings = DeepgramFileSettings()
    logs: LogSettings = LogSettings()
    records: RecordsFileSettings = RecordsFileSettings()
    outbound: OutboundSettings = OutboundSettings()
    dialling: DiallingSettings = DiallingSettings()
    inbound: InboundSettings = InboundSettings()
    fleet: FleetFileSettings | None = None
    """Nodes that share calls; None: this machine answers alone."""

    lines: Annotated[
        dict[Annotated[str, BeforeValidator(_line)], Text], BeforeValidator(_lines)
    ] = Field(default={})
    """Called number, or `default`, to the path of an agent file, relative to offhook.yaml."""

    @pydantic.field_validator("inbound")
    @classmethod
    def _priced(cls, value: InboundSettings, info: pydantic.ValidationInfo) -> InboundSettings:
        records = info.data.get("records")
        if value.spend.is_set and records is not None and not records.prices.deepgram_minute:
            raise yamlfile.refuse(
                "inbound.spend needs Deepgram's price of a minute, and records.prices has none.",
                "Give records.prices.deepgram_minute, or write inbound.minutes in place of spend.",
            )
        return value
