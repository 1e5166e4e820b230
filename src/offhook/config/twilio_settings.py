"""The block `twilio:` of offhook.yaml, and what the environment adds to it."""

from typing import Annotated
from urllib.parse import urlsplit

import pydantic
from pydantic import Field, SecretStr

from offhook import yamlfile
from offhook.config.parts import DOTENV, Part
from offhook.errors import UserError
from offhook.net.addresses import is_this_machine
from offhook.twilio.rest_account import RestAccount


class TwilioFileSettings(Part):
    """The content of `twilio:` in offhook.yaml."""

    account_sid: Annotated[str, Field(pattern=r"^AC[0-9a-f]{32}$")] | None = None
    """The account whose calls are answered; None: TWILIO_ACCOUNT_SID names it."""

    bin: bool = True
    """True if a stream may come from a TwiML Bin, without passing through our webhook."""

    region: Annotated[str, Field(pattern=r"^[a-z]{2}[0-9]$")] | None = None
    """The region that processes calls, such as ie1; None is us1 (twilio.md §5.1)."""

    edge: Annotated[str, Field(pattern=r"^[a-z]+(-[a-z]+)*$")] | None = None
    """The edge by which Twilio is reached, such as dublin."""

    api_url: str | None = None
    """The origin of the REST API, if it is not Twilio's."""

    @pydantic.field_validator("api_url")
    @classmethod
    def _rest_origin(cls, value: str | None) -> str | None:
        if value is None:
            return value
        url = urlsplit(value)
        safe = url.scheme == "https" or (
            url.scheme == "http" and is_this_machine(url.hostname or "")
        )
        if not safe or not url.hostname or url.path.strip("/") or url.query or "@" in url.netloc:
            raise yamlfile.refuse(
                "api_url is not an https origin; credentials are sent there.",
                "Write https:// and a host, such as https://api.twilio.com.",
            )
        return f"{url.scheme}://{url.netloc}"

    @pydantic.model_validator(mode="after")
    def _place(self) -> "TwilioFileSettings":
        if self.region is not None and self.edge is None:
            raise yamlfile.refuse(
                "region without edge: Twilio would take such requests to us1.",
                "Write both, such as region: ie1 and edge: dublin.",
            )
        return self


class TwilioSettings(TwilioFileSettings):
    """The Twilio account."""

    auth_tokens: tuple[SecretStr, ...] = ()
    """Tokens that may have signed a request: several while one is being rotated."""

    signing_secrets: dict[str, SecretStr] = Field(default={})
    """Shared keys that may have signed a request: id to secret (twilio.md §3.6)."""

    api_key: Annotated[str, Field(pattern=r"^SK[0-9a-f]{32}$")] | None = None
    api_secret: Annotated[SecretStr | None, Field(validate_default=True)] = None
    """Secret of the API key of REST requests; None: the account and the first of its tokens."""

    @pydantic.field_validator("api_secret")
    @classmethod
    def _key_and_secret(
        cls, value: SecretStr | None, info: pydantic.ValidationInfo
    ) -> SecretStr | None:
        if "api_key" in info.data and (info.data["api_key"] is None) != (value is None):
            missing = "TWILIO_API_SECRET" if value is None else "TWILIO_API_KEY"
            raise yamlfile.refuse(
                f"a key and its secret need each other, and {missing} is not set.",
                "Set both in .env (Twilio Console, API keys), or neither.",
            )
        return value

    @property
    def rest_account(self) -> RestAccount | None:
        """The account of REST requests; None when its credentials are not complete."""
        if self.account_sid is None:
            return None
        if self.api_key is not None and self.api_secret is not None:
            user, password = self.api_key, self.api_secret
        elif self.auth_tokens:
            user, password = self.account_sid, self.auth_tokens[0]
        else:
            return None
        return RestAccount(self.account_sid, user, password.get_secret_value(), self.rest_origin)

    @property
    def rest_origin(self) -> str:
        """Scheme and host of the REST API (twilio.md §5.1)."""
        if self.api_url is not None:
            return self.api_url
        if self.edge is None:
            return "https://api.twilio.com"
        return f"https://api.{self.edge}.{self.region or 'us1'}.twilio.com"

    def require_rest(self) -> RestAccount:
        """Return the account of REST requests. Raises UserError E-TW-02 without one."""
        account = self.rest_account
        if account is None:
            missing = (
                "TWILIO_ACCOUNT_SID"
                if self.account_sid is None
                else "TWILIO_API_KEY and TWILIO_API_SECRET"
            )
            raise UserError(
                "E-TW-02",
                "No credentials for Twilio's REST API, by which calls are placed and numbers set."
                f" Looked in: {missing}, {DOTENV}.",
                "Set them there (Twilio Console, Account, API keys).",
            )
        return account
