"""The API as an ASGI application: FastAPI, what its parts need, and its form of errors."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import msgspec
from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPBearer
from pydantic import SecretStr
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp

from offhook import __version__
from offhook.api import audio, calls, following, page
from offhook.api.doors import Doors
from offhook.api.links import Links
from offhook.api.live import Live
from offhook.api.problems import Refused, response
from offhook.api.reading import Readers
from offhook.api.shapes import ProblemBody
from offhook.calls import Calls
from offhook.clock import Clock, wall_clock
from offhook.config import Config
from offhook.errors import Problem
from offhook.records import database

_T = TypeVar("_T")

ABOUT: Final = """\
Calls that were and are, in JSON. Times are milliseconds; those of a call count from its beginning.
Whatever goes wrong is answered with `{"code", "what", "fix"}`.
"""
