"""Checks of Twilio: account, tokens, numbers, geographic permissions."""

from collections.abc import Sequence
from typing import Final

import httpx2

from offhook.config import AppConfig, Config
from offhook.doctor import twilio_account, twilio_numbers
from offhook.doctor.check import Check, bad, good, remark
from offhook.doctor.twilio_account import check_twilio_account, refused_check, unreachable_check
from offhook.doctor.twilio_numbers import check_numbers
from offhook.errors import UserError
from offhook.twilio.errors import TwilioRefusedError, TwilioUnreachableError
from offhook.twilio.rest import TwilioRest
from offhook.twilio.rest_account import RestAccount

TOKEN: Final = "Twilio token"  # noqa: S105 - no token
COUNTRIES: Final = "Twilio countries"

ATTEMPTS: Final = 2
"""Attempts of a request: who waits for an answer can run the command again."""

COUNTRIES_MAX: Final = 30

LIMIT_S: Final = 40.0
"""Seconds that the checks of Twilio may take: two attempts, of 15 s each, for what fails."""


async def look_at_account(config: AppConfig, http: httpx2.AsyncClient) -> list[Check]:
    """Return how the account and the tokens are that signatures are checked with."""
    twilio = config.twilio
    if not twilio.auth_tokens and not twilio.signing_secrets:
        try:
            config.require_signing_secrets()
        except UserError as problem:
            return [bad(TOKEN, f"{problem.code} {problem.what}", problem.fix)]
    account = twilio.rest_account
    if account is None:
        return [_unknown_account(config)]
    checks = [await check_twilio_account(TwilioRest(account, http, attempts=ATTEMPTS))]
    if account.user != account.sid and twilio.auth_tokens:
        checks += await _tokens(config, account.sid, http)
    return checks


def _unknown_account(config: AppConfig) -> Check:
    problem = _problem(config)
    reason = "the account is not known, so neither the token nor the numbers can be looked at"
    return remark(twilio_account.NAME, reason, problem.fix)


def _problem(config: AppConfig) -> UserError:
    try:
        config.twilio.require_rest()
    except UserError as problem:
        return problem
    raise RuntimeError("the account is known")


async def _tokens(config: AppConfig, sid: str, http: httpx2.AsyncClient) -> list[Check]:
    """Return how the auth tokens are, where REST requests are made with an API key."""
    tokens = [each.get_secret_value() for each in config.twilio.auth_tokens]
    origin = config.twilio.rest_origin
    found = []
    for token in tokens:
        rest = TwilioRest(RestAccount(sid, sid, token, origin), http, attempts=ATTEMPTS)
        try:
            await rest.fetch_account()
        except TwilioRefusedError as refused:
            found.append(refused_check(TOKEN, refused, origin))
        except TwilioUnreachableError as unreachable:
            found.append(unreachable_check(TOKEN, unreachable))
        else:
            found.append(good(TOKEN, "it is the account's"))
    wrong = [each for each in found if each.status == "bad"]
    if wrong and len(wrong) < len(found):
        reason = f"{len(wrong)} of {len(found)} are not the account's"
        return [remark(TOKEN, reason, "Remove the old one from TWILIO_AUTH_TOKEN.")]
    return found[:1]


async def look_at_numbers(
    config: AppConfig, lines: Sequence[str], http: httpx2.AsyncClient
) -> list[Check]:
    """Return how the numbers are; nothing where the account is not known."""
    account = config.twilio.rest_account
    if account is None:
        return []
    try:
        numbers = await TwilioRest(account, http, attempts=ATTEMPTS).numbers()
    except TwilioRefusedError as refused:
        return [refused_check(twilio_numbers.NAME, refused, account.origin)]
    except TwilioUnreachableError as unreachable:
        return [unreachable_check(twilio_numbers.NAME, unreachable)]
    return check_numbers(config, lines, numbers)


async def look_at_countries(config: Config, http: httpx2.AsyncClient) -> list[Check]:
    """Return whether the account may call the countries of `dialling`, if agents place calls."""
    account = config.twilio.rest_account
    if account is None or not places_calls(config):
        return []
    rest = TwilioRest(account, http, attempts=ATTEMPTS)
    countries = sorted(config.dialling_rules().countries)[:COUNTRIES_MAX]
    closed = []
    for country in countries:
        try:
            permission = await rest.fetch_country(country)
        except (TwilioRefusedError, TwilioUnreachableError) as error:
            fix = "Look in the Twilio Console: Voice, Settings, Geo permissions."
            return [remark(COUNTRIES, f"they cannot be read: {error}", fix)]
        if not permission.low_risk_numbers_enabled:
            closed.append(country)
    if closed:
        reason = f"the account may not call {', '.join(closed)}, and dialling.countries names them"
        fix = "Allow them in the Twilio Console: Voice, Settings, Geo permissions."
        return [bad(COUNTRIES, reason, fix)]
    return [good(COUNTRIES, f"the account may call {', '.join(countries)}")]


def places_calls(config: Config) -> bool:
    """Return whether an agent may dial somebody: an outbound call or a transfer."""
    agents = config.lines.values()
    return bool(config.placers) or any(agent.transfer is not None for agent in agents)
