/** One function of an agent: what the model is told of it, and a trial. */
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { type Problem, post, problemOf } from "../../api";
import { millis, words } from "../../format";
import { may } from "../../session";
import { ActionButton, Badge, Button, Dialog, ErrorBox, Select, TextArea, TextField } from "../../ui";
import { type AgentFunction, type Schema, type Trial, valueOf } from "./agents";
import { Code } from "./files";

export function FunctionItem({ agent, of }: { agent: string; of: AgentFunction }): JSX.Element {
  const [open, setOpen] = useState(false);
  return (
    <li class="agents-function stack tight">
      <div class="row">
        <h3 class="mono">{of.name}</h3>
        {of.irreversible && <Badge tone="fault">cannot be taken back</Badge>}
        {of.process && <Badge>in a process of its own</Badge>}
        <span class="muted small">{of.place || "comes with Offhook"}</span>
        <span class="push">
          <Button
            small
            aria-expanded={open}
            disabled={!may("admin") && "Only an admin tries functions."}
            onClick={() => setOpen(!open)}
          >
            {open ? "Close" : "Try it"}
          </Button>
        </span>
      </div>
      <p class="agents-description">{of.description}</p>
      <details>
        <summary class="muted small">What the model is told of its arguments (JSON Schema)</summary>
        <Code label={`Schema of ${of.name}`} text={JSON.stringify(of.parameters, null, 2)} />
      </details>
      {open && <TryFunction agent={agent} of={of} />}
    </li>
  );
}

function TryFunction({ agent, of }: { agent: string; of: AgentFunction }): JSX.Element {
  const properties = Object.entries(of.parameters.properties ?? {});
  const [texts, setTexts] = useState<Record<string, string>>({});
  const [trial, setTrial] = useState<Trial | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [asking, setAsking] = useState(false);

  function argumentsNow(): Record<string, unknown> {
    const given: Record<string, unknown> = {};
    for (const [name, schema] of properties) {
      const text = texts[name] ?? "";
      // An empty field is an argument that is left out, as a model leaves it out.
      if (text !== "") given[name] = valueOf(text, schema);
    }
    return given;
  }

  async function run(confirmed: boolean): Promise<void> {
    setTrial(null);
    setProblem(null);
    const path = `/agents/${encodeURIComponent(agent)}/functions/${encodeURIComponent(of.name)}`;
    try {
      setTrial(await post<Trial>(path, { arguments: argumentsNow(), confirmed }));
    } catch (error) {
      setProblem(problemOf(error));
    }
  }

  return (
    <div class="agents-try stack">
      {properties.length === 0 && <p class="muted">It takes no arguments.</p>}
      {properties.map(([name, schema]) => (
        <Argument
          key={name}
          name={name}
          schema={schema}
          required={of.parameters.required?.includes(name) ?? false}
          text={texts[name] ?? ""}
          onText={(text) => setTexts({ ...texts, [name]: text })}
        />
      ))}
      <div class="row">
        {of.irreversible ? (
          <Button kind="danger" onClick={() => setAsking(true)}>Run it…</Button>
        ) : (
          <ActionButton kind="primary" act={() => run(false)}>Run it</ActionButton>
        )}
        <span class="muted small">
          It runs as in a call, for ten seconds at most, but there is no call: it is told of no number, and
          nothing can be said or done to a caller.
        </span>
      </div>
      <div aria-live="polite">
        {problem && <ErrorBox problem={problem} />}
        {trial && <Result trial={trial} />}
      </div>
      {asking && (
        <Dialog title={`Run ${of.name}?`} onClose={() => setAsking(false)}>
          <p>
            It is declared as one that cannot be taken back: what it pays, books or sends is done for good,
            although this is a trial.
          </p>
          <Code label="Arguments" text={JSON.stringify(argumentsNow(), null, 2)} />
          <div class="actions">
            <Button onClick={() => setAsking(false)}>Do not run it</Button>
            <Button
              kind="danger"
              onClick={() => {
                setAsking(false);
                void run(true);
              }}
            >
              Run it for good
            </Button>
          </div>
        </Dialog>
      )}
    </div>
  );
}

function Argument(props: {
  name: string;
  schema: Schema;
  required: boolean;
  text: string;
  onText: (text: string) => void;
}): JSX.Element {
  const { name, schema, required, text, onText } = props;
  const kind = schema.enum ? "" : (schema.type ?? "JSON");
  const about = [schema.description, kind, required ? "" : "may be left out"].filter(Boolean).join(" · ");
  const field = { label: name, hint: about, value: text, onValue: onText };
  if (schema.enum || schema.type === "boolean") {
    const choices = (schema.enum ?? [true, false]).map(String);
    return <Select {...field} options={[["", "–"], ...choices.map((each) => [each, each] as const)]} />;
  }
  if (schema.type === "string" || schema.type === "integer" || schema.type === "number") {
    return <TextField {...field} input={{ spellcheck: false, autocomplete: "off" }} />;
  }
  return <TextArea {...field} hint={`${about} · as JSON`} input={{ class: "mono", spellcheck: false }} />;
}

function Result({ trial }: { trial: Trial }): JSX.Element {
  const good = trial.outcome === "answered";
  return (
    <div class="stack tight">
      <p class="row">
        <Badge tone={good ? "good" : "fault"}>{words(trial.outcome)}</Badge>
        <span>after {millis(trial.took_ms)}</span>
      </p>
      {trial.fault && <p>It raised <span class="mono">{trial.fault}</span>. The log has the same line.</p>}
      <p class="muted small">The agent would be told:</p>
      <Code label="What the agent would be told" text={trial.content} />
    </div>
  );
}
