/** A conversation from the record of a call: what was said before the page followed it. */
import { sentence, told } from "../format";
import { EMPTY, type Conversation, type Line, type Turn } from "./lines";

/** The entries of a call's timeline that are used here (docs/rest.md, CallRecord). */
export type Entry = { at_ms: number } & (
  | {
      kind: "utterance";
      who: string;
      text: string;
      intended: string;
      end_ms: number;
      heard_ms: number | null;
      interrupted: boolean;
      estimated: boolean;
    }
  | {
      kind: "function";
      id: string;
      name: string;
      arguments: string;
      outcome: string | null;
      content: string | null;
      after_ms: number | null;
    }
  | { kind: "key"; digit: string }
  | { kind: "message"; from_name: string; text: string }
  | { kind: "dial"; reason: string; destination: string; to_number: string }
  | { kind: "agent_session"; request_id: string; dialled_ms: number }
  | { kind: "trouble"; event: string; words: string }
  | {
      kind: "turn";
      first_byte_ms: number | null;
      first_played_ms: number | null;
      listen_ms: number | null;
      think_ms: number | null;
      speak_ms: number | null;
    }
  | { kind: "event"; event: string; fields: Record<string, unknown>; words: string }
);

/** Return the conversation that a timeline tells. */
export function ofTimeline(timeline: readonly Entry[]): Conversation {
  const lines: Line[] = [];
  const turns: Turn[] = [];
  timeline.forEach((entry, at) => {
    if (entry.kind === "turn") turns.push(turnOf(entry, `record ${at}`));
    else {
      const line = lineOf(entry, `record ${at}`);
      if (line) lines.push(line);
    }
  });
  return { ...EMPTY, lines, turns };
}

function turnOf(entry: Entry & { kind: "turn" }, key: string): Turn {
  return {
    key,
    atMs: entry.at_ms,
    firstPlayedMs: entry.first_played_ms,
    firstByteMs: entry.first_byte_ms,
    listenMs: entry.listen_ms,
    thinkMs: entry.think_ms,
    speakMs: entry.speak_ms,
  };
}

function lineOf(entry: Entry, key: string): Line | null {
  const atMs = entry.at_ms;
  const note = (words: string, text = "", fault = false): Line => ({ key, kind: "note", atMs, words, text, fault });
  switch (entry.kind) {
    case "utterance":
      if (entry.who === "caller") return { key, kind: "caller", atMs, text: entry.text };
      return {
        key,
        kind: "agent",
        atMs,
        // One that is only estimated and was not cut is being said now.
        state: entry.estimated && !entry.interrupted ? "speaking" : entry.text === "" ? "unspoken" : entry.interrupted ? "cut" : "said",
        text: entry.intended || entry.text,
        heard: entry.estimated && !entry.interrupted ? null : entry.text,
        heardMs: entry.heard_ms ?? 0,
      };
    case "function":
      return {
        key: `function ${entry.id}`,
        kind: "function",
        atMs,
        id: entry.id,
        name: entry.name,
        arguments: entry.arguments,
        outcome: entry.outcome,
        content: entry.content,
        afterMs: entry.after_ms,
      };
    case "key":
      return note("a key was pressed", entry.digit);
    case "message":
      return note("a message was taken", entry.text);
    case "dial":
      return note(`dialled: ${entry.reason} ${entry.destination}`.trim(), entry.to_number);
    case "trouble":
      return note(`${sentence(named(entry.event))}: ${entry.words}`, "", true);
    case "event": {
      const by = entry.fields["by"];
      if (entry.event !== "CallBegan" && typeof by === "string") {
        return { key, kind: "operator", atMs, by, words: told(entry.event, entry.fields, entry.words), refused: entry.fields["outcome"] === "refused" };
      }
      return SILENT.has(entry.event) ? null : note(told(entry.event, entry.fields, entry.words));
    }
    default:
      return null;
  }
}

/** Return the name of an event as words: "agent lost". */
function named(event: string): string {
  return event.replace(/(?!^)([A-Z])/g, " $1").toLowerCase();
}

const SILENT = new Set(["AgentDisconnected", "InterruptionSuppressed", "Interrupted", "KeysEntered", "UtteranceRedacted", "RecordingStarted", "RecordingEnded", "CallerSpeechBegan"]);
