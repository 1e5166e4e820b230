/** The agents that new calls get: their lines, files and functions. */
import type { JSX } from "preact";
import { get } from "../../api";
import type { ViewProps } from "../../shell";
import { Badge, Empty, ErrorBox, Facts, Loading, Panel, useLoad } from "../../ui";
import { agentLink, type AgentDetails, type AgentSummary, lineName } from "./agents";
import { Code, FileActions, Findings } from "./files";
import { FunctionItem } from "./function";
import "./agents.css";

export default function AgentsView({ param }: ViewProps): JSX.Element {
  return param ? <One name={param} key={param} /> : <All />;
}

function All(): JSX.Element {
  const found = useLoad("agents", (signal) => get<{ agents: AgentSummary[] }>("/agents", {}, signal));
  return (
    <div class="stack">
      <header class="view-head">
        <h1>Agents</h1>
      </header>
      <FileActions onReload={found.again} />
      {found.problem && <ErrorBox problem={found.problem} again={found.again} />}
      {!found.data ? (
        !found.problem && <Loading />
      ) : (
        <ul class="agents-list">
          {found.data.agents.map((agent) => (
            <li key={agent.name}>
              <Summary agent={agent} />
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}

function Summary({ agent }: { agent: AgentSummary }): JSX.Element {
  return (
    <Panel>
      <h2>
        <a href={agentLink(agent.name)}>{agent.name}</a>
      </h2>
      <div class="stack tight">
        <p class="row">
          <Answers agent={agent} />
        </p>
        {agent.greeting && <p class="muted">“{agent.greeting}”</p>}
        <Links name={agent.name} />
      </div>
    </Panel>
  );
}

function Answers({ agent }: { agent: AgentSummary }): JSX.Element {
  return (
    <>
      {agent.lines.map((line) => (
        <Badge key={line} tone="agent">answers {lineName(line)}</Badge>
      ))}
      {agent.places_calls && <Badge tone="agent">places calls</Badge>}
      {agent.records && <Badge>records</Badge>}
      {agent.lines.length === 0 && !agent.places_calls && <Badge>reached by a transfer</Badge>}
    </>
  );
}

function Links({ name }: { name: string }): JSX.Element {
  const query = new URLSearchParams({ agent: name }).toString();
  return (
    <p class="row">
      <a class="button primary" href={`/phone?${query}`}>Talk to it</a>
      <a href={`/calls?${query}`}>
        Calls<span class="hidden-text"> of {name}</span>
      </a>
      <a href={`/quality?${query}`}>
        Quality<span class="hidden-text"> of {name}</span>
      </a>
    </p>
  );
}

function One({ name }: { name: string }): JSX.Element {
  const found = useLoad(`agent ${name}`, (signal) =>
    get<AgentDetails>(`/agents/${encodeURIComponent(name)}`, {}, signal),
  );
  return (
    <div class="stack">
      <header class="view-head">
        <h1>{name}</h1>
        <a href="/agents">All agents</a>
      </header>
      {found.problem &&
        (found.problem.code === "E-AGENT-01" ? (
          <Empty title={`No agent is called ${name} now`}>
            <p>{found.problem.fix}</p>
            <p>
              <a href={`/calls?${new URLSearchParams({ agent: name }).toString()}`}>Its earlier calls</a>
            </p>
          </Empty>
        ) : (
          <ErrorBox problem={found.problem} again={found.again} />
        ))}
      {!found.data ? !found.problem && <Loading /> : <Details of={found.data} again={found.again} />}
    </div>
  );
}

function Details({ of, again }: { of: AgentDetails; again: () => void }): JSX.Element {
  const { agent } = of;
  const variables = Object.entries(agent.variables);
  return (
    <>
      <div class="row">
        <Answers agent={agent} />
        <span class="push">
          <Links name={agent.name} />
        </span>
      </div>
      <FileActions onReload={again} />
      {variables.length > 0 && (
        <Panel title="Variables">
          <p class="muted small">Defaults of the file, for calls that give no other value.</p>
          <Facts facts={variables.map(([name, value]) => [name, value || "(empty)"] as const)} />
        </Panel>
      )}
      <Panel title="Functions">
        {of.functions.length === 0 ? (
          <p class="muted">
            It has none. <code>tools:</code> in its file names Python files with functions.
          </p>
        ) : (
          <ul>
            {of.functions.map((each) => (
              <FunctionItem key={each.name} agent={agent.name} of={each} />
            ))}
          </ul>
        )}
      </Panel>
      <Panel title="What check said when it was loaded">
        {of.findings.length === 0 ? <p class="muted">Nothing: the file is good.</p> : <Findings findings={of.findings} />}
      </Panel>
      <Panel title="The file as it was loaded">
        <div class="stack tight">
          {of.is_changed && (
            <p>
              <Badge tone="operator">changed since</Badge> The file has other content by now: check it, and
              reload to use it.
            </p>
          )}
          <p class="muted small">
            {agent.file ? <span class="mono">{agent.file}</span> : "Deepgram's tutorial, which comes with Offhook."}
            {" "}Comments are left out, and secrets are ***.
          </p>
          <Code label="The file" text={of.text} />
        </div>
      </Panel>
    </>
  );
}
