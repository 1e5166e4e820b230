"""Scripted stand-in agent: its words, answers and faults, turn by turn, whatever the caller says.

A script is a YAML file, or these models made in Python; testing/front_desk.yaml is an example.
Agents that understand the caller are in dialogue/; `Conduct` holds what both kinds share.
"""

from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias

import pydantic
from pydantic import Field

from offhook import yamlfile
from offhook.deepgram import messages

Milliseconds: TypeAlias = Annotated[int, Field(ge=0, le=3_600_000)]

_FRONT_DESK: Final = "front_desk.yaml"


class _Part(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


class ScriptFunctionCall(_Part):
    """Function that the agent calls before it answers."""

    name: str
    arguments: dict[str, Any] = {}
    response: str = ""
    """Result, if Settings give the function an `endpoint`: then the agent runs it itself."""


class ScriptTurn(_Part):
    """Turn of the caller and the answer to it."""

    hear: str
    """Words that the caller is reported to have said."""
    thinking: str | None = None
    """Content of an AgentThinking message before the answer; None for no message."""
    function_calls: list[ScriptFunctionCall] = []
    """Functions, requested in one message; the answer waits for every response."""
    say: list[str] = []
    """Sentences of the answer, each played as its recorded clip, or as a hum of its length. Without
    any the agent is silent, as when its model hangs."""
    end: bool = False
    """True to close the socket once the answer has had time to play."""
    fault: (
        Literal["close", "cut", "stall", "garbage", "unknown", "text_only", "never_done"] | None
    ) = None
    """Fault of the answer. `close`: the socket closes with a close frame. `cut`: the socket closes
    without one. `stall`: the socket stays open, but nothing more is sent. These three happen after
    the first piece of the answer's audio, or in place of an answer without sentences. `garbage`: a
    text that is not JSON precedes the answer. `unknown`: a message of an unknown type precedes it.
    `text_only`: no audio and no AgentAudioDone. `never_done`: no AgentAudioDone."""
    error: str | None = None
    """Code of an Error that ends the session at the point where `close` would."""


class Stage(_Part):
    """Step of the opening of a session, with its delay and its faults."""

    after_ms: Milliseconds = 20
    fault: Literal["close", "cut", "stall", "garbage", "unknown"] | None = None
    """Fault as in ScriptTurn: `garbage` and `unknown` precede the step, others replace it."""
    error: str | None = None


class Latency(_Part):
    """Latencies in seconds that every LatencyReport of the script gives."""

    stt_latency: float = 0.12
    ttt_token_latency: float = 0.21
    ttt_text_latency: float = 0.24
    tts_latency: float = 0.11
    total_latency: float = 0.47

    def report(self) -> messages.LatencyReport:
        """Return the latencies as a LatencyReport message."""
        return messages.LatencyReport(**self.model_dump())


class Conduct(_Part):
    """Protocol behaviour of an agent, whatever it says: delays, rates and faults."""

    silence_ms: Milliseconds = 600
    """Silence of the caller, in milliseconds, that ends a turn."""
    reply_ms: Milliseconds = 200
    """Milliseconds from the end of a turn to the answer. Speech in between continues the turn."""
    speed: float = Field(default=8.0, ge=1.0, le=1000.0)
    """Rate at which audio is sent, as a multiple of the rate at which it plays."""
    chunk_bytes: list[Annotated[int, Field(ge=1, le=65536)]] = Field(
        default=[960, 731, 1280], min_length=1
    )
    """Sizes of binary messages in bytes, used in turn. Deepgram states none: any may occur."""
    lead_ms: Milliseconds = 500
    """Milliseconds by which a sentence is sent before the previous one has had time to play."""
    late_audio_ms: Milliseconds = 100
    """Milliseconds for which a cut utterance's audio still comes after UserStartedSpeaking."""
    latency: Latency | None = None
    """Fixed latencies for every LatencyReport; None to report measured ones."""
    function_ms: Milliseconds | None = 20_000
    """Milliseconds after which the agent goes on without function results; None for no limit."""
    refuse_with: Literal["InjectionRefused", "Warning"] = "InjectionRefused"
    """Reply to a refused injection: the documented message, or the one that Deepgram sent in 2026
    (deepgram.md §2.14)."""

    unacknowledged: list[Literal["UpdatePrompt", "UpdateThink", "UpdateSpeak", "UpdateListen"]] = []
    """Updates that are applied without an acknowledgement (§3.12)."""

    session_s: float = Field(default=7200, gt=0, le=7200)
    """Seconds that a session may last (§1.3). A Warning comes 5 minutes before its end; after half
    of it, in a session of less than 10 minutes."""
    replays_context: bool = True
    """True if a session repeats the conversation of its Settings as History messages (§5.4)."""
    upgrade_status: Annotated[int, Field(ge=400, le=599)] | None = None
    """HTTP status that refuses the WebSocket upgrade; None to accept it."""
    welcome: Stage = Stage()
    settings: Stage = Stage(after_ms=30)
    """Step from Settings to SettingsApplied."""


class Script(Conduct):
    """Scripted agent. Every session plays the script from its beginning."""

    turns: list[ScriptTurn] = []
    """Turns that are answered in order, one for each turn of the caller."""
    fallback: ScriptTurn = ScriptTurn(hear="(unclear)", say=["Sorry, I did not catch that."])
    """Turn that is answered when the list of turns is used up."""
    interrupted: ScriptTurn = ScriptTurn(
        hear="Sorry, one more thing.", say=["Of course, what else?"]
    )
    """Turn that is answered when the caller has cut an answer short; it uses up no turn."""
    latency: Latency | None = Latency()
    function_ms: Milliseconds | None = None

    def latency_report(self) -> messages.LatencyReport:
        """Return the LatencyReport that follows each answer."""
        return (self.latency or Latency()).report()


def read(path: Path) -> Script:
    """Read a script from a file. Raises UserError (E-YAML-01 to -03) naming file, line and key."""
    return yamlfile.validate(Script, yamlfile.read(path))


def front_desk() -> Script:
    """Return the front-desk script, for a machine without speech recognition."""
    text = (resources.files("offhook.testing") / _FRONT_DESK).read_text("utf-8")
    return yamlfile.validate(Script, yamlfile.parse(text, Path(_FRONT_DESK)))
