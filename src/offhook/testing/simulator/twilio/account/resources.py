"""REST resources in Twilio's format, with all members (twilio.md §5.3, §5.6, §5.7)."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from offhook.testing.simulator.twilio.account.parameters import UPDATE_NUMBER, Given, Parameter
from offhook.testing.simulator.twilio.calls import dates
from offhook.testing.simulator.twilio.calls.leg import Leg, new_sid

VERSION = "2010-04-01"


def _date(when: datetime | None) -> str | None:
    return None if when is None else dates.rfc2822(when)


def call(leg: Leg) -> dict[str, Any]:
    """Return the Call resource of a leg."""
    account = leg.report.account_sid
    uri = f"/{VERSION}/Accounts/{account}/Calls/{leg.sid}"
    ended = leg.over
    kinds = ("Events", "Notifications", "Payments", "Recordings", "Streams", "Transcriptions")
    return {
        "sid": leg.sid,
        "date_created": _date(leg.made),
        "date_updated": _date(leg.changed_at),
        "parent_call_sid": leg.parent.sid if leg.parent is not None else None,
        "account_sid": account,
        "to": leg.to,
        "to_formatted": leg.to,
        "from": leg.from_,
        "from_formatted": leg.from_,
        "phone_number_sid": None,
        "status": "queued" if leg.status == "initiated" else leg.status,
        "start_time": _date(leg.started_at),
        "end_time": _date(leg.ended_at) if ended else None,
        "duration": str(leg.seconds) if ended else None,
        "price": None,
        "price_unit": "USD",
        "direction": leg.direction,
        "answered_by": leg.answered_by,
        "api_version": VERSION,
        "forwarded_from": None,
        "group_sid": None,
        "caller_name": None,
        "queue_time": "0",
        "trunk_sid": None,
        "uri": f"{uri}.json",
        "subresource_uris": {kind.lower(): f"{uri}/{kind}.json" for kind in kinds},
    }


def message(account_sid: str, given: Given) -> dict[str, Any]:
    """Return the Message resource of a text message that was accepted."""
    sid, body, now = new_sid("SM"), given.text("Body"), dates.rfc2822(dates.now())
    one, several = (160, 153) if body.isascii() else (70, 67)
    segments = 1 if len(body) <= one else math.ceil(len(body) / several)
    uri = f"/{VERSION}/Accounts/{account_sid}/Messages/{sid}"
    return {
        "body": body,
        "num_segments": str(segments),
        "direction": "outbound-api",
        "from": given.text("From") or None,
        "to": given.text("To"),
        "date_updated": now,
        "price": None,
        "error_message": None,
        "uri": f"{uri}.json",
        "account_sid": account_sid,
        "num_media": str(len(given.texts("MediaUrl"))),
        "status": "queued",
        "messaging_service_sid": given.text("MessagingServiceSid") or None,
        "sid": sid,
        "date_sent": None,
        "date_created": now,
        "error_code": None,
        "price_unit": "USD",
        "api_version": VERSION,
        "subresource_uris": {"media": f"{uri}/Media.json"},
    }


def account(sid: str, status: str, type_: str) -> dict[str, Any]:
    """Return the Account resource."""
    made = dates.rfc2822(dates.now())
    uri = f"/{VERSION}/Accounts/{sid}"
    kinds = ("Calls", "Conferences", "IncomingPhoneNumbers", "Messages", "Recordings")
    return {
        "sid": sid,
        "friendly_name": "Simulated",
        "status": status,
        "type": type_,
        "owner_account_sid": sid,
        "date_created": made,
        "date_updated": made,
        "uri": f"{uri}.json",
        "subresource_uris": {kind.lower(): f"{uri}/{kind}.json" for kind in kinds},
    }


def country(iso_code: str, is_allowed: bool) -> dict[str, Any]:
    """Return the DialingPermissions Country resource (twilio.md §5.8)."""
    return {
        "iso_code": iso_code,
        "name": iso_code,
        "continent": None,
        "country_codes": [],
        "low_risk_numbers_enabled": is_allowed,
        "high_risk_special_numbers_enabled": False,
        "high_risk_tollfraud_numbers_enabled": False,
    }


@dataclass(slots=True)
class AccountNumber:
    """Number of the account, with its settings by the names of their parameters."""

    phone_number: str
    sid: str = field(default_factory=lambda: new_sid("PN"))
    made: datetime = field(default_factory=dates.now)
    changed: datetime = field(default_factory=dates.now)
    settings: dict[str, str] = field(default_factory=dict)

    def update(self, settings: Mapping[str, str]) -> None:
        """Change settings. A TwiML app and a SIP trunk exclude each other (twilio.md §5.7)."""
        self.settings |= settings
        for name, other in (
            ("VoiceApplicationSid", "TrunkSid"),
            ("TrunkSid", "VoiceApplicationSid"),
        ):
            if settings.get(name):
                self.settings.pop(other, None)
        self.changed = dates.now()

    def json(self, account_sid: str) -> dict[str, Any]:
        """Return the IncomingPhoneNumber resource."""
        set_ = {
            re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower(): self._value(name, parameter)
            for name, parameter in UPDATE_NUMBER.items()
        }
        return set_ | {
            "account_sid": account_sid,
            "address_requirements": "none",
            "beta": False,
            "capabilities": {"voice": True, "sms": True, "mms": True, "fax": False},
            "date_created": dates.rfc2822(self.made),
            "date_updated": dates.rfc2822(self.changed),
            "phone_number": self.phone_number,
            "origin": "twilio",
            "sid": self.sid,
            "uri": f"/{VERSION}/Accounts/{account_sid}/IncomingPhoneNumbers/{self.sid}.json",
            "emergency_address_status": "unregistered",
            "status": "in-use",
            "type": "local",
        }

    def _value(self, name: str, parameter: Parameter) -> Any:
        """Return the value of a setting, or Twilio's default for it."""
        usual = {
            "ApiVersion": VERSION,
            "FriendlyName": self.phone_number,
            "VoiceReceiveMode": "voice",
            "EmergencyStatus": "Inactive",
        }
        if parameter.kind == "boolean":
            return self.settings.get(name) == "true"
        by_kind = {"method": "POST", "url": ""}.get(parameter.kind)
        empty = "" if parameter.sid == "AP" else by_kind
        return self.settings.get(name) or usual.get(name, empty)
