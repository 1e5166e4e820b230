"""The files of a new agent, made of what is known about its accounts.

What they hold passes `offhook check` without a remark, and the scenario passes `offhook rehearse`
without an account. tests/cli/test_init.py holds both.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from offhook.config import schema

APP: Final = "offhook.yaml"
AGENT: Final = "agent.yaml"
TOOLS: Final = "tools.py"
SCENARIO: Final = "scenarios/first-call.yaml"
DOTENV: Final = ".env"
GITIGNORE: Final = ".gitignore"

OF_THE_USER: Final = (APP, AGENT, TOOLS, SCENARIO)
"""Files that are the user's as soon as they are written, and never written again."""

SCHEMAS: Final = ".offhook"
"""Folder of the schemas, which are ours: they are written anew for each version of Offhook."""


def user_files(number: str | None) -> dict[str, str]:
    """Return the files of OF_THE_USER, whose agent answers `number` (E.164): text by name."""
    return {
        APP: _APP.format(head=_head("offhook"), lines=_lines(number)),
        AGENT: _head("agent") + _AGENT,
        TOOLS: _TOOLS,
        SCENARIO: _head("scenario", "../") + _SCENARIO,
    }


def schema_files(scenario_schema: str) -> dict[str, str]:
    """Return the schemas that the first lines of the YAML files name: text by name."""
    return {
        f"{SCHEMAS}/offhook.schema.json": schema.as_text(schema.app_schema()),
        f"{SCHEMAS}/agent.schema.json": schema.as_text(schema.agent_schema()),
        f"{SCHEMAS}/scenario.schema.json": scenario_schema,
    }


def dotenv_text(before: str | None, values: Mapping[str, str]) -> str:
    """Return the text of .env with values for variables that it does not set yet.

    Nothing that stands there is changed, but for lines that set such a variable to nothing.
    """
    text = _DOTENV if before is None else before
    lines = text.splitlines(keepends=True)
    missing = dict(values)
    for index, line in enumerate(lines):
        name, equals, value = line.removeprefix("export ").partition("=")
        if equals and name.strip() in missing and not value.strip().strip("\"'"):
            lines[index] = f"{name.strip()}={missing.pop(name.strip())}\n"
    return _longer("".join(lines), [f"{name}={value}" for name, value in missing.items()])


def gitignore_text(before: str | None) -> str:
    """Return the text of .gitignore with every line that keeps secrets and calls out of Git."""
    text = before or ""
    known = {line.strip() for line in text.splitlines()}
    return _longer(text, [line for line in _GITIGNORE.splitlines() if line not in known])


def _longer(text: str, lines: Sequence[str]) -> str:
    """Return a text with more lines at its end."""
    if not lines:
        return text
    gap = "\n" if text and not text.endswith("\n") else ""
    return text + gap + "".join(f"{line}\n" for line in lines)


def _head(kind: str, up: str = "") -> str:
    return f"# yaml-language-server: $schema={up}{SCHEMAS}/{kind}.schema.json\n"


def _lines(number: str | None) -> str:
    if number is None:
        return f"  default: {AGENT}               # every number that is called"
    return (
        f'  "{number}": {AGENT}    # quoted: YAML reads +1... as an integer\n'
        f"  default: {AGENT}             # every other number"
    )


_APP: Final = """\
{head}# The server: which agent answers which number, and how the server is reached.
# Secrets are in .env, never here. `offhook check` reads all files and names each mistake.

lines:
{lines}

# server:
#   public_url: https://voice.example.com   # where Twilio reaches you; `offhook dev` makes one
"""

_AGENT: Final = """\
# The agent: what it is told, how it listens and speaks, and what it can do.

settings:                           # as Deepgram's Voice Agent API takes them
  listen:
    provider: {type: deepgram, version: v2, model: flux-general-en}
  think:
    - provider: {type: open_ai, model: gpt-4o-mini}
      prompt: &prompt |
        You answer the telephone of Corner Shop. Be friendly and brief: one or two sentences, no
        lists, nothing that only makes sense in writing. Ask opening_hours about opening hours; do
        not guess them. When the caller has what they want, say goodbye with hang_up.
    - provider: {type: anthropic, model: claude-haiku-4-5}     # when the first one fails
      prompt: *prompt
  speak:
    - provider: {type: deepgram, version: v2, model: flux-kit-en}
    - provider: {type: deepgram, version: v1, model: aura-2-thalia-en}
  greeting: Hello! How can I help you today?

tools: [tools.py, hang_up]          # your functions, and one that is built in

fallback: {say: "We are sorry, we cannot take your call at the moment. Please try again later."}
"""

_TOOLS: Final = '''\
"""Functions of the agent, which sees the name, type hints and docstring of each."""

from offhook.tools import tool

HOURS = {"saturday": "from ten to four", "sunday": "closed"}


@tool
def opening_hours(day: str) -> str:
    """Tell the opening hours of a day of the week, such as monday."""
    return HOURS.get(day.lower(), "from nine to six")
'''

_SCENARIO: Final = """\
# A call to try without an account: offhook rehearse scenarios
# The caller speaks, your server answers, and tools.py runs; the agent's part is played by `script`.
# To hear your own agent instead, with your key, remove `config` and `script`, and run
#   offhook rehearse scenarios --config offhook.yaml

name: A first call
config: ../offhook.yaml
script:
  turns:
    - hear: Are you open on Sunday?
      function_calls: [{name: opening_hours, arguments: {day: sunday}}]
      say: [We are closed on Sundays and on public holidays.]
    - hear: Thank you, goodbye.
      function_calls: [{name: hang_up, arguments: {farewell: Thank you for calling. Goodbye!}}]

steps:
  - expect: How can I help you
  - say: Are you open on Sunday?
  - expect:
      says: closed on Sundays
      called: {function: opening_hours, arguments: {day: sunday}}
  - say: Thank you, goodbye.
expect:
  says: Goodbye
  ending: agent_hung_up
"""

_DOTENV: Final = """\
# Secrets of this agent. Keep this file to yourself: it is in .gitignore.

# console.deepgram.com, API keys
DEEPGRAM_API_KEY=

# console.twilio.com, Account info
TWILIO_ACCOUNT_SID=
TWILIO_AUTH_TOKEN=
"""

_GITIGNORE: Final = """\
.env
calls/
offhook-data/
rehearsal.wav
__pycache__/
"""
