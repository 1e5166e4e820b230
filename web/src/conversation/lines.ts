/** What is shown of a conversation: lines of a transcript, made from a call's events one by one. */
import { acted, sentence } from "../format";
import type { LiveEvent } from "../live";

export interface CallerLine {
  kind: "caller";
  atMs: number;
  text: string;
}

/** `speaking`: it is being said; `cut`: the caller interrupted it; `unspoken`: nothing was heard. */
export interface AgentLine {
  kind: "agent";
  atMs: number;
  state: "speaking" | "said" | "cut" | "unspoken";
  /** All that the agent meant to say. */
  text: string;
  /** Milliseconds that were heard. */
  heardMs: number;
  /** The words that were heard, when it is over. */
  heard: string | null;
}

export interface FunctionLine {
  kind: "function";
  atMs: number;
  id: string;
  name: string;
  arguments: string;
  /** null: it runs. */
  outcome: string | null;
  content: string | null;
  afterMs: number | null;
}

/** Something that a person at a console did. */
export interface OperatorLine {
  kind: "operator";
  atMs: number;
  by: string;
  words: string;
  refused: boolean;
}

/** Anything else, in a sentence; `text` is what was said or pressed with it. */
export interface NoteLine {
  kind: "note";
  atMs: number;
  words: string;
  text: string;
  fault: boolean;
}

export type Line = { key: string } & (CallerLine | AgentLine | FunctionLine | OperatorLine | NoteLine);

/** Delays of one answer, in ms; null: not measured. */
export interface Turn {
  key: string;
  atMs: number;
  firstPlayedMs: number | null;
  firstByteMs: number | null;
  listenMs: number | null;
  thinkMs: number | null;
  speakMs: number | null;
}

export interface Conversation {
  lines: readonly Line[];
  turns: readonly Turn[];
  /** Numbers of the agent's utterances that have not ended, with the keys of their lines. */
  open: readonly (readonly [utterance: number, key: string])[];
  /** Why the call ended, in words; null: it goes on. */
  ending: string | null;
}

/** Number of an utterance that only the record has told of: the next events are about it. */
export const UNKNOWN = -1;

export const EMPTY: Conversation = { lines: [], turns: [], open: [], ending: null };

/** Events that are shown elsewhere, or too small to be a line of a conversation. */
const UNLISTED = new Set([
  "CallBegan",
  "CallStarted",
  "LookedUp",
  "AgentDisconnected",
  "DelaysSampled",
  "KeysEntered",
  "UtteranceRedacted",
  "CallBilled",
  "AudioDropped",
  "InterruptionSuppressed",
  "CallerSpeechBegan",
  "Interrupted",
  "AgentRolledOver",
  "AgentConnected",
  "CallerSpeechBegan",
  "RecordingStarted",
  "RecordingEnded",
]);

/** Events that a person should see as something wrong. */
const FAULTS = new Set([
  "AgentLost",
  "StreamBroke",
  "StreamTrouble",
  "TransferFailed",
  "RecordingFailed",
  "AgentWarned",
  "ProtocolViolation",
  "DialRefused",
  "SpareAgentFailed",
  "InterpreterHeld",
  "CallTakenOver",
]);

/** Return the conversation after one more event. */
export function extended(talk: Conversation, event: LiveEvent): Conversation {
  const { atMs } = event;
  const key = event.streamId;
  switch (event.type) {
    case "CallEnded":
      return { ...talk, ending: event.words };
    case "CallerSaid":
      return added(talk, { key, kind: "caller", atMs: event.start_ms ?? atMs, text: event.text });
    case "AgentAnnounced":
      return announced(talk, event.utterance, event.text, key, atMs);
    case "AgentHeard":
      return replaced(talk, keyOf(talk, event.utterance), (line) =>
        line.kind === "agent" ? { ...line, heardMs: event.heard_ms } : line,
      );
    case "AgentSaid":
      return said(talk, event, key);
    case "Answered":
    case "LatencyReported":
      return { ...talk, turns: withTurn(talk.turns, event, key) };
    case "FunctionCalled":
      return added(talk, {
        key: `function ${event.id}`,
        kind: "function",
        atMs,
        id: event.id,
        name: event.name,
        arguments: event.arguments,
        outcome: null,
        content: null,
        afterMs: null,
      });
    case "FunctionAnswered":
    case "FunctionFinishedLate":
      return replaced(talk, `function ${event.id}`, (line) =>
        line.kind === "function"
          ? { ...line, outcome: event.outcome, content: event.content, afterMs: event.after_ms }
          : line,
      );
    case "FunctionDropped":
      return replaced(talk, `function ${event.id}`, (line) =>
        line.kind === "function" ? { ...line, outcome: event.why } : line,
      );
    default:
      if (UNLISTED.has(event.type)) return talk;
      return added(talk, noted(event, key));
  }
}

function noted(event: LiveEvent, key: string): Line {
  const { atMs } = event;
  if ("by" in event && typeof event.by === "string") {
    const refused = "outcome" in event && event.outcome === "refused";
    const words =
      event.type === "OperatorActed"
        ? acted(event.by, event.operation, event.outcome, event.what)
        : event.sentence;
    return { key, kind: "operator", atMs, by: event.by, words, refused };
  }
  const fault = FAULTS.has(event.type);
  return { key, kind: "note", atMs, words: sentence(event.sentence), text: textOf(event), fault };
}

function textOf(event: LiveEvent): string {
  if (event.type === "KeyPressed") return event.digit;
  if (event.type === "AgentTold" || event.type === "MessageTaken") return event.text;
  if (event.type === "Dialled") return event.to;
  return "";
}

function announced(
  talk: Conversation,
  utterance: number,
  text: string,
  key: string,
  atMs: number,
): Conversation {
  const known = keyOf(talk, utterance);
  if (known) {
    return replaced(talk, known, (line) =>
      line.kind === "agent" ? { ...line, text: `${line.text} ${text}` } : line,
    );
  }
  const line: Line = { key, kind: "agent", atMs, state: "speaking", text, heardMs: 0, heard: null };
  return { ...added(talk, line), open: [...talk.open, [utterance, key]] };
}

/** Utterances end in the order in which they began; the event does not name its own. */
function said(talk: Conversation, event: LiveEvent & { type: "AgentSaid" }, key: string): Conversation {
  const [first, ...open] = talk.open;
  const state = event.text === "" ? "unspoken" : event.interrupted ? "cut" : "said";
  const ended = {
    state,
    text: event.intended || event.text,
    heard: event.text,
    heardMs: event.heard_ms,
  } as const;
  if (!first) {
    const line: Line = { key, kind: "agent", atMs: event.start_ms ?? event.atMs, ...ended };
    return added(talk, line);
  }
  return {
    ...replaced(talk, first[1], (line) => (line.kind === "agent" ? { ...line, ...ended } : line)),
    open,
  };
}

function keyOf(talk: Conversation, utterance: number): string | undefined {
  const own = talk.open.find(([number]) => number === utterance) ?? talk.open.find(([number]) => number === UNKNOWN);
  return own?.[1];
}

/** Add a line by its time: what the caller said is told after it was said. */
function added(talk: Conversation, line: Line): Conversation {
  const at = talk.lines.findLastIndex((before) => before.atMs <= line.atMs) + 1;
  return { ...talk, lines: talk.lines.toSpliced(at, 0, line) };
}

function replaced(
  talk: Conversation,
  key: string | undefined,
  change: (line: Line) => Line,
): Conversation {
  const at = key === undefined ? -1 : talk.lines.findLastIndex((line) => line.key === key);
  const line = talk.lines[at];
  return line ? { ...talk, lines: talk.lines.with(at, change(line)) } : talk;
}

function withTurn(
  turns: readonly Turn[],
  event: LiveEvent & { type: "Answered" | "LatencyReported" },
  key: string,
): readonly Turn[] {
  const last = turns.at(-1);
  const own =
    event.type === "Answered"
      ? { firstPlayedMs: event.first_played_ms, firstByteMs: event.first_byte_ms }
      : { listenMs: event.listen_ms, thinkMs: event.think_ms, speakMs: event.speak_ms };
  // Our times and Deepgram's of one turn are two events, in either order, soon after one another.
  const isSame =
    last !== undefined &&
    event.atMs - last.atMs < SAME_TURN_MS &&
    (event.type === "Answered" ? last.firstPlayedMs === null : last.thinkMs === null && last.listenMs === null);
  if (isSame) return turns.with(-1, { ...last, ...own });
  const empty = { firstPlayedMs: null, firstByteMs: null, listenMs: null, thinkMs: null, speakMs: null };
  return [...turns, { key, atMs: event.atMs, ...empty, ...own }];
}

const SAME_TURN_MS = 3000;
