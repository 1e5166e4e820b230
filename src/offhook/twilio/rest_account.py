"""The account that makes requests to Twilio's REST API."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class RestAccount:
    """An account (`sid`), its credentials, and scheme and host of the API.

    `user` and `password` are an API key and its secret, or the account and an auth token
    (twilio.md §5.1).
    """

    sid: str
    user: str
    password: str = field(repr=False)
    origin: str
