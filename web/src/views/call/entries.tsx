/** The entries of a call's timeline. All that comes from the call is text nodes. */
import type { ComponentChildren, JSX } from "preact";
import { useMemo } from "preact/hooks";
import { duration, millis, told, words as asWords } from "../../format";
import { Badge } from "../../ui";
import { CopyButton } from "./copy";
import { type Entry, type FunctionCall, latency, type Turn, type Utterance, wordsOf } from "./record";

type Tone = "normal" | "caller" | "agent" | "function" | "operator" | "fault" | "good";

/** Characters of a text that are shown at once; the rest is shown on demand. */
const TEXT_SHOWN = 2000;

export interface RowProps {
  entry: Entry;
  /** True while this is what plays. */
  current: boolean;
  /** Play from a time of the call; null without a recording. */
  play: ((ms: number) => void) | null;
}

export function Row({ entry, current, play }: RowProps): JSX.Element {
  const { tone, name, body } = shown(entry, play);
  const time = duration(entry.at_ms);
  return (
    <li class={`call-row ${tone}`} aria-current={current ? "true" : undefined}>
      {play ? (
        <button type="button" class="call-time num" aria-label={`Play from ${time}`} onClick={() => play(entry.at_ms)}>
          {time}
        </button>
      ) : (
        <span class="call-time num">{time}</span>
      )}
      <span class="call-who">{name}</span>
      <div class="call-what">{body}</div>
    </li>
  );
}

interface Shown {
  tone: Tone;
  name: ComponentChildren;
  body: ComponentChildren;
}

function shown(entry: Entry, play: RowProps["play"]): Shown {
  switch (entry.kind) {
    case "utterance": {
      const tone = entry.who === "caller" ? "caller" : "agent";
      return { tone, name: tone === "caller" ? "Caller" : "Agent", body: <Said said={entry} play={play} /> };
    }
    case "turn":
      return { tone: "normal", name: "Answer", body: <Latency turn={entry} /> };
    case "function":
      return { tone: "function", name: "Function", body: <Called called={entry} /> };
    case "key":
      return { tone: "caller", name: "Key", body: <kbd>{entry.digit || "erased"}</kbd> };
    case "message":
      return {
        tone: "caller",
        name: "Message",
        body: (
          <>
            <Long text={entry.text} />
            <p class="muted small">
              from {entry.from_name || "nobody named"}, call back {entry.number || "the number that called"}
            </p>
          </>
        ),
      };
    case "dial":
      return {
        tone: "operator",
        name: "Dial",
        body: `${entry.to_number || "a number that was erased"} was rung: ${asWords(entry.reason)}${entry.destination ? ` to ${entry.destination}` : ""}`,
      };
    case "agent_session":
      return {
        tone: "normal",
        name: "Session",
        body: (
          <span class="row">
            The agent was there {millis(entry.dialled_ms)} after it was dialled.
            <span class="mono small">{entry.request_id}</span>
            {entry.request_id && <CopyButton text={entry.request_id} what="request id" />}
          </span>
        ),
      };
    case "trouble":
      return {
        tone: "fault",
        name: "Trouble",
        body: [asWords(split(entry.event)), entry.leg && `on the ${entry.leg}'s side`, entry.code, entry.words, entry.ms !== null && millis(entry.ms)]
          .filter(Boolean)
          .join(", "),
      };
    case "event":
      return {
        tone: operatorEvents.has(entry.event) ? "operator" : entry.event === "Interrupted" ? "fault" : "normal",
        name: entry.event === "Interrupted" ? "Barge-in" : "Event",
        body: entry.words ? (
          <Long text={told(entry.event, entry.fields, entry.words)} />
        ) : (
          // An event of another version: its name and fields are all that is known of it.
          <>
            {split(entry.event)} <code>{JSON.stringify(entry.fields).slice(0, TEXT_SHOWN)}</code>
          </>
        ),
      };
    default:
      // A kind of a newer version of the server than this page.
      return { tone: "normal", name: "Entry", body: <code>{JSON.stringify(entry).slice(0, TEXT_SHOWN)}</code> };
  }
}

const operatorEvents = new Set(["OperatorActed", "ListeningBegan", "ListeningEnded", "OperatorTookOver", "OperatorHandedBack", "AgentTold"]);

/** Return a type's name as words: AgentSwitched, "Agent switched". */
function split(name: string): string {
  const parts = name.replace(/([a-z])([A-Z])/g, "$1 $2").toLowerCase();
  return parts.charAt(0).toUpperCase() + parts.slice(1);
}

/** What was said; a click on a word plays from there. */
function Said({ said, play }: { said: Utterance; play: RowProps["play"] }): JSX.Element {
  const parts = useMemo(() => (said.text.length <= TEXT_SHOWN ? wordsOf(said) : null), [said]);
  const unheard = said.intended.startsWith(said.text) ? said.intended.slice(said.text.length) : said.intended;
  const cut = said.who !== "caller" && unheard.trim() !== "";
  function onClick(event: MouseEvent): void {
    const at = event.target instanceof HTMLElement ? event.target.dataset["at"] : undefined;
    // Marking text to copy it is no click on a word.
    if (at !== undefined && play && getSelection()?.isCollapsed !== false) play(Number(at));
  }
  return (
    <>
      {/* The button before it plays the utterance, for the keyboard. */}
      <p class={play && parts ? "call-words" : undefined} onClick={onClick}>
        {parts
          ? parts.map((word, place) => <span key={place} data-at={Math.round(word.at_ms)}>{word.text}</span>)
          : <Long text={said.text} />}
        {cut && (
          <span class="call-unheard">
            <span class="hidden-text"> Not heard: </span>
            {unheard}
          </span>
        )}
        {!said.text && !cut && <span class="muted">(erased, or nothing)</span>}
      </p>
      {(said.interrupted || said.estimated) && (
        <p class="small muted">
          {said.interrupted && <Badge tone="fault">interrupted</Badge>}{" "}
          {said.estimated && `What was heard is estimated from ${millis(said.heard_ms ?? 0)} of its audio.`}
        </p>
      )}
    </>
  );
}

const STAGES = [
  ["listen_ms", "hearing"],
  ["think_ms", "thinking"],
  ["speak_ms", "speaking"],
] as const;

/** The delay of an answer, as a strip and in words. */
function Latency({ turn }: { turn: Turn }): JSX.Element {
  const all = latency(turn);
  const stages = STAGES.flatMap(([field, name]) => {
    const ms = turn[field];
    return ms === null ? [] : [{ field, name, ms }];
  });
  const sum = Math.max(1, stages.reduce((total, stage) => total + stage.ms, 0));
  return (
    <div class="call-latency">
      <span>
        after <strong class="num">{all === null ? "?" : millis(all)}</strong>
        {turn.first_byte_ms !== null && turn.first_played_ms !== null && (
          <span class="muted small"> (first sound from the agent after {millis(turn.first_byte_ms)})</span>
        )}
      </span>
      {stages.length > 0 && (
        <>
          <span class="call-strip" aria-hidden="true">
            {stages.map((stage) => (
              <span key={stage.field} class={stage.field} style={{ width: `${(100 * stage.ms) / sum}%` }} />
            ))}
          </span>
          <span class="muted small">
            Deepgram: {stages.map((stage) => `${stage.name} ${millis(stage.ms)}`).join(", ")}
          </span>
        </>
      )}
    </div>
  );
}

/** A function's call: its arguments and what the agent was told. */
function Called({ called }: { called: FunctionCall }): JSX.Element {
  const good = called.outcome === "answered";
  return (
    <details>
      <summary>
        <strong>{called.name}</strong>{" "}
        <Badge tone={called.outcome === null ? "normal" : good ? "good" : "fault"}>
          {called.outcome === null ? "not answered yet" : asWords(called.outcome)}
        </Badge>
        {called.after_ms !== null && <span class="num muted"> after {millis(called.after_ms)}</span>}
      </summary>
      <h3>Arguments</h3>
      <pre><Long text={pretty(called.arguments)} /></pre>
      {called.content !== null && (
        <>
          <h3>What the agent was told</h3>
          <pre><Long text={pretty(called.content)} /></pre>
        </>
      )}
    </details>
  );
}

/** Return JSON with indents; another text as it is. */
export function pretty(text: string): string {
  if (!/^\s*[[{]/.test(text)) return text;
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text; // cut, or no JSON
  }
}

/** A text; of a very long one the beginning, and the rest when it is wanted. */
export function Long({ text }: { text: string }): JSX.Element {
  if (text.length <= TEXT_SHOWN) return <>{text}</>;
  return (
    <>
      {text.slice(0, TEXT_SHOWN)}
      <details>
        <summary>The other {text.length - TEXT_SHOWN} characters</summary>
        {text.slice(TEXT_SHOWN)}
      </details>
    </>
  );
}
