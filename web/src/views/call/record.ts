/** The record of one call, as GET /api/v1/calls/{sid} has it (docs/calls.md). */

export interface CallSummary {
  sid: string;
  started: string;
  started_ms: number;
  duration_ms: number | null;
  live: boolean;
  agent: string;
  direction: string;
  came_by: string;
  from_number: string;
  to_number: string;
  fault: string | null;
  slug: string | null;
  words: string | null;
  turns: number;
  interruptions: number;
  functions: number;
  troubles: number;
  recording: string | null;
  twilio_minutes: number | null;
  cost_micros: number | null;
}

interface Base {
  at_ms: number;
}

export interface Utterance extends Base {
  kind: "utterance";
  who: string;
  text: string;
  intended: string;
  start_ms: number | null;
  end_ms: number;
  heard_ms: number | null;
  interrupted: boolean;
  estimated: boolean;
}

export interface FunctionCall extends Base {
  kind: "function";
  id: string;
  name: string;
  arguments: string;
  outcome: string | null;
  content: string | null;
  after_ms: number | null;
}

export interface Key extends Base {
  kind: "key";
  digit: string;
}

export interface Message extends Base {
  kind: "message";
  from_name: string;
  number: string;
  text: string;
}

export interface Dial extends Base {
  kind: "dial";
  reason: string;
  destination: string;
  to_number: string;
}

export interface AgentSession extends Base {
  kind: "agent_session";
  request_id: string;
  dialled_ms: number;
}

export interface Trouble extends Base {
  kind: "trouble";
  event: string;
  leg: string | null;
  code: string | null;
  words: string;
  ms: number | null;
}

export interface Turn extends Base {
  kind: "turn";
  first_byte_ms: number | null;
  first_played_ms: number | null;
  listen_ms: number | null;
  think_ms: number | null;
  speak_ms: number | null;
  total_ms: number | null;
}

export interface Happened extends Base {
  kind: "event";
  event: string;
  fields: Record<string, unknown>;
  words: string;
}

export type Entry =
  | Utterance
  | FunctionCall
  | Key
  | Message
  | Dial
  | AgentSession
  | Trouble
  | Turn
  | Happened;

export interface Meters {
  twilio_status: string | null;
  twilio_ms: number | null;
  twilio_minutes: number | null;
  stream_ms: number;
  stream_minutes: number;
  deepgram_ms: number;
  deepgram_tier: string;
  twilio_micros: number | null;
  stream_micros: number | null;
  deepgram_micros: number | null;
}

export interface Percentiles {
  samples: number;
  p50_ms: number | null;
  p95_ms: number | null;
  p99_ms: number | null;
}

export interface CallRecord {
  version: number;
  currency: string;
  call: CallSummary;
  account_sid: string;
  variables: Record<string, string>;
  lookup: { outcome: string; why: string; after_ms: number } | null;
  stream_at_ms: number | null;
  detail: string | null;
  recording_ms: number | null;
  recording_fault: string | null;
  text_erased: boolean;
  meters: Meters;
  delays: { to_agent: Percentiles; to_caller: Percentiles; to_clear: Percentiles } | null;
  timeline: Entry[];
}

export interface Prices {
  currency: string;
  twilio_minute: number | null;
  stream_minute: number | null;
  deepgram_minute: Record<string, number>;
}

export interface Peaks {
  bucket_ms: number;
  length_ms: number;
  caller: number[];
  agent: number[];
}

/** A stretch of the call that is drawn on the wave. Times are ms of the call. */
export interface Mark {
  from: number;
  to: number;
  tone: "latency" | "interrupted" | "function" | "key" | "operator" | "fault" | "silenced";
  /** What stands on it, where there is room. */
  label: string;
}

/** Return when the recording begins, in ms of the call; 0 when the record does not say. */
export function recordingStart(timeline: readonly Entry[]): number {
  const started = timeline.find((entry) => entry.kind === "event" && entry.event === "RecordingStarted");
  return started?.at_ms ?? 0;
}

/** Return the latency of a turn: until Twilio had played its first sound, else Deepgram's account. */
export function latency(turn: Turn): number | null {
  return turn.first_played_ms ?? turn.total_ms;
}

/** Return the median latency of a call's turns; null without any. */
export function medianLatency(timeline: readonly Entry[]): number | null {
  const all = timeline
    .flatMap((entry) => (entry.kind === "turn" ? [latency(entry)] : []))
    .filter((ms): ms is number => ms !== null)
    .sort((a, b) => a - b);
  return all[Math.floor((all.length - 1) / 2)] ?? null;
}

const KEY_MS = 120;

/** Return what is drawn on the wave, in the order of the timeline. */
export function marksOf(timeline: readonly Entry[]): Mark[] {
  const marks: Mark[] = [];
  let asked: number | null = null; // when the last words of the caller were confirmed
  for (const entry of timeline) {
    if (entry.kind === "utterance") {
      if (entry.who === "caller") asked = entry.end_ms;
    } else if (entry.kind === "turn") {
      const ms = latency(entry);
      if (ms === null) continue;
      const from = asked ?? entry.at_ms - ms;
      marks.push({ from, to: from + ms, tone: "latency", label: `${Math.round(ms)} ms` });
    } else if (entry.kind === "function") {
      const to = entry.at_ms + Math.max(entry.after_ms ?? 0, KEY_MS);
      marks.push({ from: entry.at_ms, to, tone: "function", label: entry.name });
    } else if (entry.kind === "key") {
      marks.push({ from: entry.at_ms, to: entry.at_ms + KEY_MS, tone: "key", label: entry.digit });
    } else if (entry.kind === "trouble") {
      marks.push({ from: entry.at_ms, to: entry.at_ms + KEY_MS, tone: "fault", label: entry.event });
    } else if (entry.kind === "event") {
      if (entry.event === "Interrupted") {
        marks.push({ from: entry.at_ms, to: entry.at_ms + KEY_MS, tone: "interrupted", label: "barge-in" });
      } else if (entry.event === "UtteranceRedacted") {
        const from = number(entry.fields["start_ms"]);
        const to = number(entry.fields["end_ms"]);
        if (from !== null && to !== null) marks.push({ from, to, tone: "silenced", label: "silenced" });
      } else if (entry.event === "OperatorHandedBack") {
        const lasted = number(entry.fields["after_ms"]) ?? 0;
        const label = String(entry.fields["by"] ?? "");
        marks.push({ from: entry.at_ms - lasted, to: entry.at_ms, tone: "operator", label });
      }
    }
  }
  return marks;
}

function number(value: unknown): number | null {
  return typeof value === "number" ? value : null;
}

/** A word of an utterance, and when it was said: an estimate, as Deepgram gives no times of words. */
export interface Word {
  text: string;
  at_ms: number;
}

/**
 * Return the words of what was heard, each with its time: the time of the whole utterance shared out
 * by letters. Null where it is not known when the utterance began.
 */
export function wordsOf(said: Utterance): Word[] | null {
  if (said.start_ms === null) return null;
  const length = said.heard_ms ?? said.end_ms - said.start_ms;
  const parts = said.text.match(/\S+\s*/g) ?? [];
  const letters = Math.max(1, parts.reduce((sum, part) => sum + part.length, 0));
  let before = 0;
  return parts.map((text) => {
    const at_ms = (said.start_ms ?? 0) + (Math.max(0, length) * before) / letters;
    before += text.length;
    return { text, at_ms };
  });
}
