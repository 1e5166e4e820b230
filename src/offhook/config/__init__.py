"""The configuration: every setting, in one frozen tree that is read once.

Three sources: `offhook.yaml` and the agent files that it names, the environment (with `.env` of the
working directory) for secrets and for any key of `offhook.yaml`, and the command line. Nothing else
in Offhook reads the environment. Without any of them there are defaults, and the agent is that of
Deepgram's sample server.

A mistake is reported with file, line and column, and nothing is half loaded.
"""

from typing import TYPE_CHECKING, Any

from offhook.config.app_config import DEFAULT, AppConfigFile, LogSettings, OutboundSettings
from offhook.config.app_reading import FILE, NOTHING, AppConfig, Overrides, load_app
from offhook.config.deepgram_settings import DeepgramSettings
from offhook.config.records_settings import (
    Prices,
    RecordsSettings,
    RedactionSettings,
    RetentionSettings,
    WebhookSettings,
)
from offhook.config.server_settings import HARD_TO_GUESS, ServerSettings
from offhook.config.twilio_settings import TwilioSettings

if TYPE_CHECKING:
    from offhook.config.agent_file import (
        Agent,
        Announcement,
        Busy,
        Fallback,
        LimitSettings,
        Lookup,
        Texts,
        TransferDestination,
        Voicemail,
    )
    from offhook.config.agents import read_agent
    from offhook.config.reading import Config, examine, load

__all__ = [
    "DEFAULT",
    "FILE",
    "HARD_TO_GUESS",
    "NOTHING",
    "Agent",
    "Announcement",
    "AppConfig",
    "AppConfigFile",
    "Busy",
    "Config",
    "DeepgramSettings",
    "Fallback",
    "LimitSettings",
    "LogSettings",
    "Lookup",
    "OutboundSettings",
    "Overrides",
    "Prices",
    "RecordsSettings",
    "RedactionSettings",
    "RetentionSettings",
    "ServerSettings",
    "Texts",
    "TransferDestination",
    "TwilioSettings",
    "Voicemail",
    "WebhookSettings",
    "examine",
    "load",
    "load_app",
    "read_agent",
]


def __getattr__(name: str) -> Any:
    """Import what belongs to agents when it is first asked for.

    Their files need Deepgram's Settings and the tools, which most commands and the operator's
    process do without.
    """
    if name in __all__:
        from offhook.config import agent_file, agents, reading

        for module in (agent_file, agents, reading):
            if name in vars(module):
                return vars(module)[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
