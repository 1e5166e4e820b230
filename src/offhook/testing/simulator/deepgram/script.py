"""A scripted stand-in agent: what it hears, says and suffers, turn by turn, whatever was said.

A YAML file, or these models made in Python. front_desk.yaml beside this file is an example. Agents
that understand what was said are in dialogue/; `Conduct` is what they have in common.
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
    """A function that the agent wants run before it answers."""

    name: str
    arguments: dict[str, Any] = {}
    response: str = ""
    """The result, where Settings give the function an `endpoint`: then the agent runs it itself."""


class ScriptTurn(_Part):
    """One turn of the caller and the answer to it."""

    hear: str
    """What the caller is reported to have said."""
    thinking: str | None = None
    """An AgentThinking before the answer."""
    function_calls: list[ScriptFunctionCall] = []
    """All of them in one request; the answer waits for every response."""
    say: list[str] = []
    """Sentences. One that a clip says is heard as that clip, any other as a hum of its length."""
    end: bool = False
    """The agent closes the socket once the answer has had time to play."""
    fault: (
        Literal["close", "cut", "stall", "garbage", "unknown", "text_only", "never_done"] | None
    ) = None
    """`close`: a close frame, `cut`: none, `stall`: open, but nothing more is sent. These strike
    after the first piece of the answer's audio, or in place of an answer without sentences.
    `garbage`, `unknown`: before the answer comes a text that is not JSON, a type that nobody knows.
    `text_only`: no audio and no AgentAudioDone. `never_done`: no AgentAudioDone."""
    error: str | None = None
    """The code of an Error that is sent, and ends the session, where `close` would."""


class Stage(_Part):
    """A step of the opening, and what goes wrong there."""

    after_ms: Milliseconds = 20
    fault: Literal["close", "cut", "stall", "garbage", "unknown"] | None = None
    """As in a Turn, in place of the step; `garbage` and `unknown` before it."""
    error: str | None = None


class Latency(_Part):
    """Seconds, as every LatencyReport of the script gives them."""

    stt_latency: float = 0.12
    ttt_token_latency: float = 0.21
    ttt_text_latency: float = 0.24
    tts_latency: float = 0.11
    total_latency: float = 0.47

    def report(self) -> messages.LatencyReport:
        """Return the latencies as the message."""
        return messages.LatencyReport(**self.model_dump())


class Conduct(_Part):
    """How an agent keeps the protocol, whatever it says: its times, its pace, and its faults."""

    silence_ms: Milliseconds = 600
    """The caller's silence that ends a turn."""
    reply_ms: Milliseconds = 200
    """From there to the answer. A caller who goes on speaking meanwhile has not finished."""
    speed: float = Field(default=8.0, ge=1.0, le=1000.0)
    """Audio is sent this many times as fast as it plays."""
    chunk_bytes: list[Annotated[int, Field(ge=1, le=65536)]] = Field(
        default=[960, 731, 1280], min_length=1
    )
    """The sizes of binary messages, in turn. Deepgram states none: a client must take any."""
    lead_ms: Milliseconds = 500
    """A sentence is sent this long before the one ahead of it has had time to play."""
    late_audio_ms: Milliseconds = 100
    """For how long a cut utterance's audio still comes after UserStartedSpeaking."""
    latency: Latency | None = None
    """What every LatencyReport says; None: what was measured."""
    function_ms: Milliseconds | None = 20_000
    """How long functions may take until the agent goes on without their answers; None: for ever."""
    refuse_with: Literal["InjectionRefused", "Warning"] = "InjectionRefused"
    """What a refused injection is answered with: the documented message, or the one that was seen
    in 2026 (deepgram.md §2.14)."""

    unacknowledged: list[Literal["UpdatePrompt", "UpdateThink", "UpdateSpeak", "UpdateListen"]] = []
    """Changes that are made, but of which nothing is said (§3.12)."""

    upgrade_status: Annotated[int, Field(ge=400, le=599)] | None = None
    """An HTTP status in place of the WebSocket."""
    welcome: Stage = Stage()
    settings: Stage = Stage(after_ms=30)
    """From Settings to SettingsApplied."""


class Script(Conduct):
    """One scripted agent: every session plays it from its beginning."""

    turns: list[ScriptTurn] = []
    """Answered in order, one for each turn of the caller."""
    fallback: ScriptTurn = ScriptTurn(hear="(unclear)", say=["Sorry, I did not catch that."])
    """Answered when the turns have run out."""
    interrupted: ScriptTurn = ScriptTurn(
        hear="Sorry, one more thing.", say=["Of course, what else?"]
    )
    """Answered when the caller has cut an answer short; it takes none of the turns."""
    latency: Latency | None = Latency()
    function_ms: Milliseconds | None = None

    def latency_report(self) -> messages.LatencyReport:
        """Return the LatencyReport that follows each answer."""
        return (self.latency or Latency()).report()


def read(path: Path) -> Script:
    """Read a script from a file. Raises UserError (E-YAML-01 to -03) naming file, line and key."""
    return yamlfile.validate(Script, yamlfile.read(path))


def front_desk() -> Script:
    """Return the script for where nothing can be recognised: opening hours, a table, goodbye."""
    text = (resources.files("offhook.testing") / _FRONT_DESK).read_text("utf-8")
    return yamlfile.validate(Script, yamlfile.parse(text, Path(_FRONT_DESK)))
