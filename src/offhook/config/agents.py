"""Reading of agent files, and checks of what they name: tools, variables, destinations, lines."""

import functools
import math
import os.path
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from offhook import variables, yamlfile
from offhook.config import newcomers
from offhook.config.agent_file import Agent, LimitSettings, Placing
from offhook.config.app_config import DEFAULT, DiallingSettings
from offhook.config.parts import DOTENV
from offhook.deepgram import settings
from offhook.tools import builtin, modules
from offhook.tools.files import ToolFiles
from offhook.yamlfile import Collected, Document, Finding, InvalidFileError, Loc, Place

if TYPE_CHECKING:  # its metadata takes its time
    from offhook.policy.dial_policy import DialRules


class AgentRead(NamedTuple):
    """An agent file that was read."""

    agent: Agent
    document: Document
    remarks: tuple[Finding, ...]

    def other_agents(self) -> Iterator[tuple[str, Path]]:
        """Return the agent files that the agent may transfer to, by the destination's name."""
        if self.agent.transfer is not None:
            for name, destination in self.agent.transfer.destinations.items():
                if destination.agent is not None:
                    yield name, destination.agent


def read_agent(path: Path) -> tuple[Agent, tuple[Finding, ...]]:
    """Return the agent of a file, with the remarks about its settings. Raises as `load` does."""
    found = Collected()
    read = _read_agent(path, found)
    found.raise_errors(read.remarks if read is not None else ())
    assert read is not None  # what prevents it is an error
    return read.agent, read.remarks


def _read_agent(path: Path, found: Collected) -> AgentRead | None:
    """Return the agent of a file, with every mistake in it added to `found`.

    Where there are mistakes, it is what the file would be without them; None if that is nothing.
    Raises UserError for a file that is no YAML.
    """
    document = yamlfile.read(path)
    found.add("E-YAML-03", newcomers.understood(document))
    own = document.value
    agent = yamlfile.validate_rest(Agent, document, found)

    def locate(loc: yamlfile.Loc, key: bool) -> Place:
        return document.place(("settings", *loc), key=key)

    if agent is None:
        if isinstance(own, dict) and "settings" in own:
            found.attempt(functools.partial(settings.accept, own["settings"], locate, None))
        return None
    wrong = frozenset(own.keys() - agent.model_fields_set if isinstance(own, dict) else ())
    tools = _tools(agent, document, found, wrong)
    latest = None if tools is None or "tools" in wrong else tools.current
    accepted = found.attempt(functools.partial(settings.accept, agent.settings, locate, latest))
    remarks = accepted[1] if accepted is not None else ()
    agent = _with_agent_paths(agent, document, found)
    agent = agent.model_copy(
        update={
            "settings": accepted[0] if accepted is not None else settings.tutorial()[0],
            "name": agent.name or path.stem,
        }
    )
    if tools is not None:
        agent._tool_files = tools
    agent._lookup_function = found.attempt(functools.partial(_lookup_function, agent, document))
    if "variables" not in wrong:
        found.add("E-VAR-01", _variable_findings(agent, document))
    if "transfer" not in wrong:
        found.add("E-CFG-01", _keypad_findings(agent, document))
    return AgentRead(agent, document, remarks + _lookup_remarks(agent, document))


def _no_file(path: Path, document: Document, *loc: str | int) -> Finding:
    fix = "Correct the path: it starts at the folder of this file."
    return Finding("error", f"There is no file {path}.", fix, document.place(loc))


def _with_agent_paths(agent: Agent, document: Document, found: Collected) -> Agent:
    """Return the agent, knowing the files of those that it may transfer to (`Config.agents`)."""
    if agent.transfer is None:
        return agent
    known = {}
    for name, destination in agent.transfer.destinations.items():
        if destination.agent is not None:
            path = path_from(document, destination.agent)
            if not path.is_file():
                where = ("transfer", "destinations", name, "agent")
                found.add("E-CFG-01", [_no_file(path, document, *where)])
                continue
            destination = destination.model_copy(update={"agent": path})
        known[name] = destination
    transfer = agent.transfer.model_copy(update={"destinations": known})
    return agent.model_copy(update={"transfer": transfer})


def path_from(document: Document, name: str | Path) -> Path:
    """Return a path that is relative to a file, in the one form in which paths are compared."""
    return Path(os.path.normpath(document.path.parent / name))


def _tools(
    agent: Agent, document: Document, found: Collected, wrong: frozenset[object]
) -> ToolFiles | None:
    """Return the tools that a file names; None if there is a mistake, which is added to `found`.

    `wrong` are the keys at the top of the file of which the agent has nothing.
    """
    paths = []
    names: list[str] = []
    before = len(found.findings)
    for index, tool in enumerate(agent.tools):
        if tool in builtin.NAMES:
            fault = _unfit(tool, agent, names)
            if fault is None:
                names.append(tool)
            elif wrong.isdisjoint(("transfer", "texts")):
                error = Finding("error", *fault, document.place(("tools", index)))
                found.add("E-TOOL-02", [error])
        elif re.fullmatch(r"[\w-]+", tool):
            there = f"There are: {', '.join(builtin.NAMES)}."
            fix = yamlfile.did_you_mean(tool, builtin.NAMES, there)
            text = f'No built-in tool is called "{tool}", and a file\'s name ends in .py.'
            found.add("E-TOOL-02", [Finding("error", text, fix, document.place(("tools", index)))])
        else:
            path = document.path.parent / tool
            if path.is_file():
                paths.append(path)
            else:
                found.add("E-CFG-01", [_no_file(path, document, "tools", index)])
    transfer = agent.transfer.destinations if agent.transfer is not None else {}
    texts = agent.texts.destinations if agent.texts is not None else {}
    named = builtin.Destinations(
        {name: each.describe for name, each in transfer.items()},
        {name: each.describe for name, each in texts.items()},
    )
    made = found.attempt(functools.partial(ToolFiles, paths, builtin.offered(names, named)))
    return made if len(found.findings) == before else None


def _unfit(tool: str, agent: Agent, before: Sequence[str]) -> tuple[str, str] | None:
    """Return why a built-in tool cannot be used and what to do; None when it can."""
    if tool in before:
        return f'"{tool}" stands here twice.', "Remove one."
    if tool == "transfer_call" and agent.transfer is None:
        text = (
            "transfer_call has no destinations: an agent dials no number that you have not named."
        )
        return text, 'Add transfer: {destinations: {front_desk: {to: "+1…"}}}.'
    if tool == "send_sms" and agent.texts is None:
        return "send_sms has no number to send from.", 'Add texts: {from: "+1…"}.'
    return None


def _lookup_function(agent: Agent, document: Document) -> modules.Latest[Callable[..., Any]] | None:
    if agent.lookup is None or agent.lookup.python is None:
        return None
    name, _, function = agent.lookup.python.rpartition(":")
    path = document.path.parent / name
    if not path.is_file():
        raise InvalidFileError("E-CFG-01", [_no_file(path, document, "lookup", "python")])
    return modules.Latest((path,), lambda: modules.function(path, function))


def _lookup_remarks(agent: Agent, document: Document) -> tuple[Finding, ...]:
    url = urlsplit(agent.lookup.url or "") if agent.lookup is not None else None
    if url is None or url.scheme != "http" or url.hostname in ("localhost", "127.0.0.1", "::1"):
        return ()
    text = "The lookup goes over the network unencrypted, with callers' numbers and the secret."
    return (Finding("remark", text, "Use https.", document.place(("lookup", "url"))),)


def _variable_findings(agent: Agent, document: Document) -> Iterator[Finding]:
    known = {*agent.variables, *variables.BUILT_IN}
    for loc, text in agent.templates():
        for name, written in variables.places(text):
            if name in known:
                continue
            default = f"Give it a default: variables: {{{name}: …}}."
            fix = yamlfile.did_you_mean(name, known, default)
            where = document.place_within(loc, written)
            yield Finding("error", f'No variable is called "{name}".', fix, where)


def _keypad_findings(agent: Agent, document: Document) -> Iterator[Finding]:
    """Return an error for every key that transfers to an unknown destination."""
    known = agent.transfer.destinations if agent.transfer is not None else {}
    for key, action in agent.keypad.actions.items():
        name = action.transfer
        if name is None or name in known:
            continue
        fix = yamlfile.did_you_mean(name, known, f"Add it to transfer.destinations: {name}.")
        # Without quotes the key is a number there; a step that is not there is passed over.
        steps = (int(key), key) if key.isdigit() else (key,)
        where = document.place(("keypad", "actions", *steps, "transfer"))
        text = f'Key {key} transfers to "{name}", which is not in transfer.destinations.'
        yield Finding("error", text, fix, where)


def read_lines(
    files: Mapping[str, str], placers: Sequence[Path], document: Document, found: Collected
) -> tuple[dict[str, Agent], dict[Path, AgentRead], tuple[Finding, ...]]:
    """Return every agent, each file read once, and the remarks; the errors are added to `found`."""
    agents: dict[Path, AgentRead] = {}
    paths = {name: path_from(document, name) for name in set(files.values())}
    waiting = {paths[name]: document.place(("lines", of)) for of, name in files.items()}
    for index, name in enumerate(placers):
        waiting.setdefault(path_from(document, name), document.place(("outbound", "agents", index)))
    tried: set[Path] = set()
    while waiting:
        path = next(iter(waiting))
        where = waiting.pop(path)
        tried.add(path)
        if not path.is_file():
            fix = "Correct the path: it starts at the folder of this file."
            missing = Finding("error", f"There is no agent file {path}.", fix, where)
            found.add("E-CFG-01", [missing])
            continue
        read = found.attempt(functools.partial(_read_agent, path, found))
        if read is None:
            continue
        agents[path] = read
        for label, named in read.other_agents():
            if named not in tried:
                loc = ("transfer", "destinations", label, "agent")
                waiting[named] = read.document.place(loc)
    remarks = tuple(remark for read in agents.values() for remark in read.remarks)
    found.add("E-CFG-01", _same_names(agents))
    lines = {
        line: agents[paths[name]].agent for line, name in files.items() if paths[name] in agents
    }
    if not files and not found.code:
        tutorial, about = settings.tutorial()
        lines, remarks = {DEFAULT: Agent(name="seed", settings=tutorial)}, remarks + about
    return lines, agents, remarks


def hours_remarks(agents: Mapping[Path, AgentRead], placers: Collection[Path]) -> Iterator[Finding]:
    """Return remarks on the calling hours of agents: when people without a time zone are rung."""
    for path, read in agents.items():
        wants = read.agent.outbound
        if path in placers or wants != Placing():
            text = (
                f"A person without a time zone of their own is rung only while {wants.hours} is now"
                " in every zone in which their number may be."
            )
            fix = "Give each row of a list its timezone; numbers of some countries may be in many."
            yield Finding("remark", text, fix, read.document.place(("outbound", "hours")))


def grace_mistakes(
    grace_s: float | None, document: Document, agents: Mapping[Path, AgentRead]
) -> Iterator[Finding]:
    """Return findings on a grace that is shorter than the longest call: a stop would cut that."""
    longest = max(
        ((read.agent.limits.max_minutes, read.agent.name) for read in agents.values()),
        default=(LimitSettings().max_minutes, "the built-in one"),
    )
    needed_s = math.ceil(longest[0] * 60)
    if grace_s is not None and grace_s < needed_s:
        text = (
            f"grace_seconds is {grace_s:g}, and a call of the agent {longest[1]} may last"
            f" {needed_s} s (limits.max_minutes): a stop would take it from its process."
        )
        fix = f"Write grace_seconds: {needed_s} or more, or leave it out: calls last as they last."
        yield Finding("mistake", text, fix, document.place(("server", "grace_seconds")))


def _same_names(agents: Mapping[Path, AgentRead]) -> Iterator[Finding]:
    """Return findings on agents that have the name of an earlier one: names must be unique."""
    known: dict[str, Path] = {}
    for path, read in agents.items():
        name = read.agent.name
        if name in known:
            text = f'The agent of {known[name]} is called "{name}" too.'
            fix = "Give one of the two a name of its own: name: …"
            yield Finding("error", text, fix, read.document.place(("name",)))
        known.setdefault(name, path)


def dialling_rules(dialling: DiallingSettings, lines: Collection[str]) -> "DialRules":
    """Return the rules of dial_policy: those of `dialling`, with defaults from the lines."""
    from offhook.policy import dial_policy

    home = frozenset(filter(None, map(dial_policy.country_of, lines)))
    allowed = frozenset(dialling.countries or home or dial_policy.DEFAULT_COUNTRIES)
    return dial_policy.DialRules(
        countries=allowed,
        home=home or allowed,
        **dialling.model_dump(exclude={"countries", "sip_hosts"}),
        sip_hosts=frozenset(dialling.sip_hosts),
    )


def _dialled(agent: Agent) -> Iterator[tuple[Loc, str]]:
    """Return every number and address that an agent file has dialled or texted."""
    if agent.fallback.dial is not None:
        yield ("fallback", "dial"), agent.fallback.dial
    if agent.busy.dial is not None:
        yield ("busy", "dial"), agent.busy.dial
    if agent.transfer is not None:
        for name, transfer in agent.transfer.destinations.items():
            if transfer.to is not None:
                yield ("transfer", "destinations", name, "to"), transfer.to
    if agent.texts is not None:
        for name, text in agent.texts.destinations.items():
            yield ("texts", "destinations", name, "to"), text.to


def dialled_findings(
    agents: Mapping[Path, AgentRead], dialling: DiallingSettings, lines: Collection[str]
) -> Iterator[Finding]:
    """Return an error for every destination that no call may dial."""
    dialled = [(read, loc, to) for read in agents.values() for loc, to in _dialled(read.agent)]
    if not dialled:
        return
    from offhook.policy.dial_policy import DialRefusal, refusal

    rules = dialling_rules(dialling, lines)
    fixes = {
        DialRefusal.COUNTRY: (
            "Add the country to dialling.countries in offhook.yaml, if you mean it."
        ),
        DialRefusal.SIP_HOST: (
            "Add the host to dialling.sip_hosts in offhook.yaml, if you mean it."
        ),
    }
    for read, loc, to in dialled:
        refused = refusal(rules, to)
        if refused is not None:
            text = f"This would never be dialled: {refused.words}."
            fix = fixes.get(refused, "Give another number.")
            yield Finding("error", text, fix, read.document.place(loc))


def by_rest(agents: Mapping[Path, AgentRead]) -> Iterator[Finding]:
    """Return everything that agents can do only by Twilio's REST API."""
    for read in agents.values():
        transfer = read.agent.transfer
        where: list[tuple[Loc, str]] = []
        if "send_sms" in read.agent.tools:
            where.append((("tools", read.agent.tools.index("send_sms")), "send_sms"))
        for name, to in transfer.destinations.items() if transfer is not None else ():
            if to.warm:
                where.append((("transfer", "destinations", name, "warm"), "a warm transfer"))
        for loc, what in where:
            text = f"{what} takes Twilio's REST API, and there are no credentials for it."
            fix = f"Set TWILIO_ACCOUNT_SID, TWILIO_API_KEY and TWILIO_API_SECRET in {DOTENV}."
            yield Finding("error", text, fix, read.document.place(loc))
