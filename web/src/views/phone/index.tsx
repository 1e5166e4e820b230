/** The softphone: a call to an agent from the browser. */
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { get } from "../../api";
import { insecurePage } from "../../audio/problems";
import { place, setQuery } from "../../router";
import { may } from "../../session";
import {
  Button,
  Duration,
  Empty,
  ErrorBox,
  Icon,
  Level,
  Loading,
  Panel,
  Select,
  TextField,
  useLoad,
  useShortcut,
} from "../../ui";
import { toast } from "../../ui/toast";
import { type Calling, calling, isInCall } from "./calling";
import { announced, cancel, dial, isDialling, problem } from "./dial";
import { Keypad } from "./keypad";
import { Lost, Notices } from "./notices";
import { Said } from "./said";
import "./phone.css";

interface Agent {
  name: string;
  lines: string[];
  records: boolean;
  variables: Record<string, string>;
}

export default function PhoneView(): JSX.Element {
  const now = calling.value;
  const isOn = isInCall.value;
  useEffect(() => cancel, []); // No call begins behind another view.
  return (
    <>
      <header class="view-head">
        <h1>Phone</h1>
      </header>
      <div class="phone columns">
        <div class="stack">
          {isOn && now !== null ? <InCall calling={now} /> : <Dialling last={now} />}
        </div>
        <Panel title="What is said" class="said">
          {now === null ? (
            <Empty title="Nothing yet">
              <p>Call an agent: what you say and what it answers stands here.</p>
            </Empty>
          ) : (
            <>
              {now.phone.call.announcement !== null && (
                <p class="muted small">Announced before: “{now.phone.call.announcement.say}”</p>
              )}
              <Said callSid={now.phone.call.call_sid} />
            </>
          )}
        </Panel>
      </div>
    </>
  );
}

function Dialling({ last }: { last: Calling | null }): JSX.Element {
  const { data, problem: failed, again } = useLoad("agents", (signal) =>
    get<{ agents: Agent[] }>("/agents", {}, signal),
  );
  const insecure = insecurePage();
  return (
    <>
      {last !== null && <Ended last={last} />}
      {insecure !== null && <ErrorBox problem={insecure} />}
      {problem.value !== null && <ErrorBox problem={problem.value} />}
      {failed !== null && <ErrorBox problem={failed} again={again} />}
      {data === null ? (
        failed === null && <Loading what="Loading the agents" />
      ) : data.agents.length === 0 ? (
        <Empty title="There is no agent to call" />
      ) : (
        <DialForm agents={data.agents} cannot={insecure?.what ?? null} />
      )}
    </>
  );
}

/** Return the agent that is called unless another one is chosen. */
function usual(agents: readonly Agent[]): Agent {
  const asked = place.value.query.get("agent");
  return (
    agents.find((agent) => agent.name === asked) ??
    agents.find((agent) => agent.lines.includes("default")) ??
    agents[0]!
  );
}

function DialForm({ agents, cannot }: { agents: readonly Agent[]; cannot: string | null }): JSX.Element {
  const [values, setValues] = useState<Record<string, string>>({});
  const agent = usual(agents);
  const names = Object.keys(agent.variables);
  const disabled =
    cannot ??
    (may("operator") ? null : "Calling an agent needs the role operator.") ??
    (isDialling.value ? "Calling already." : null);
  function begin(withMicrophone: boolean): void {
    const given = names.filter((name) => values[name]).map((name) => [name, values[name]!]);
    void dial(agent.name, Object.fromEntries(given), withMicrophone);
  }
  return (
    <Panel title="Call an agent">
      <form
        class="stack"
        onSubmit={(event) => {
          event.preventDefault();
          if (disabled === null) begin(true);
        }}
        onKeyDown={(event) => {
          if (event.key === "Escape" && isDialling.value) giveUp();
        }}
      >
        <Select
          label="Agent"
          value={agent.name}
          onValue={(name) => setQuery({ agent: name })}
          options={agents.map((each) => [each.name, each.name] as const)}
        />
        {names.map((name) => (
          <TextField
            key={name}
            label={name}
            value={values[name] ?? ""}
            onValue={(value) => setValues((before) => ({ ...before, [name]: value }))}
            input={{ placeholder: agent.variables[name], autocomplete: "off" }}
          />
        ))}
        {names.length > 0 && (
          <p class="muted small">
            These are the agent's variables. Where you leave one empty, it has the value that is shown.
          </p>
        )}
        <div class="row">
          <Button kind="primary" submit disabled={disabled}>
            <Icon name="phone" /> {isDialling.value ? "Calling…" : "Call"}
          </Button>
          <Button disabled={disabled} onClick={() => begin(false)}>
            Call without a microphone
          </Button>
          {isDialling.value && <Cancel />}
        </div>
        {isDialling.value && (
          <p role="status">
            {announced.value === null
              ? "If the browser asks for the microphone, allow it: the agent then hears you."
              : `Announced to every caller: “${announced.value}”`}
          </p>
        )}
        <p class="muted small">
          {agent.records && "Calls of this agent are recorded. "}
          With headphones you can interrupt the agent without it hearing itself.
        </p>
      </form>
    </Panel>
  );
}

function giveUp(): void {
  cancel();
  toast("The call is cancelled.");
}

/** Gives up the call that is being made. */
function Cancel(): JSX.Element {
  useShortcut("Escape", "Cancel the call", giveUp);
  return (
    <Button
      onClick={(event) => {
        const call = event.currentTarget.form?.querySelector<HTMLElement>("[type=submit]");
        giveUp();
        call?.focus(); // this button is there no more
      }}
    >
      Cancel <kbd>Esc</kbd>
    </Button>
  );
}

function Ended({ last }: { last: Calling }): JSX.Element {
  const { call, end } = last.phone;
  const how = end.value === "hung-up" ? "You have hung up." : "The call is over.";
  return (
    <>
      <Lost phone={last.phone} />
      <Panel title="The last call">
        <div class="row">
          <p role="status">{how}</p>
          <a class="button" href={`/calls/${call.call_sid}`}>See this call</a>
        </div>
      </Panel>
    </>
  );
}

function InCall({ calling: now }: { calling: Calling }): JSX.Element {
  const { phone, agent, beganMs } = now;
  const microphone = phone.microphone.value;
  const isMuted = microphone === "muted";
  const canMute = microphone === "on" || isMuted;
  const mute = () => phone.mute(!isMuted);
  useShortcut("m", "Mute the microphone, or not", mute);
  useShortcut("h", "Hang up", () => phone.hangUp());
  return (
    <Panel title={`Call to ${agent}`} class="stack">
      <div class="row">
        {phone.state.value === "connecting" ? (
          <span role="status">Connecting…</span>
        ) : (
          <Duration since={beganMs} />
        )}
      </div>
      <Notices phone={phone} />
      <div class="levels stack tight">
        <Level name="You" tone="caller" level={phone.level} />
        <Level name="Agent" tone="agent" level={phone.agent.level} />
      </div>
      <div class="row">
        <Button pressed={isMuted} onClick={mute} disabled={canMute ? null : "There is no microphone."}>
          <Icon name="mic" /> {isMuted ? "Muted" : "Mute"} <kbd>m</kbd>
        </Button>
        <Button kind="danger" onClick={() => phone.hangUp()}>
          <Icon name="hangup" /> Hang up <kbd>h</kbd>
        </Button>
      </div>
      <Keypad phone={phone} />
    </Panel>
  );
}
