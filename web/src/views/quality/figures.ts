/** The figures of GET /api/v1/quality, and the days to which they belong. */
import { address, PREFIX } from "../../api";

export const STAGES = [
  ["first_played_ms", "First sound played (measured)"],
  ["first_byte_ms", "First sound received (measured)"],
  ["total_ms", "Total (Deepgram)"],
  ["listen_ms", "Listen (Deepgram)"],
  ["think_ms", "Think (Deepgram)"],
  ["speak_ms", "Speak (Deepgram)"],
] as const;

export type Stage = (typeof STAGES)[number][0];

/** What each stage is, in a sentence. */
export const MEANINGS: Record<Stage, string> = {
  first_played_ms:
    "From the moment at which the caller's words were confirmed until Twilio had played the first sound of the answer: what the caller waits for.",
  first_byte_ms:
    "From the moment at which the caller's words were confirmed until the first sound of the answer came from Deepgram.",
  total_ms: "Deepgram's own measure of the whole turn.",
  listen_ms: "Deepgram's own measure of the part in which speech became text.",
  think_ms: "Deepgram's own measure of the part in which the model wrote the answer.",
  speak_ms: "Deepgram's own measure of the part in which text became speech.",
};

export interface StageLatency {
  turns: number;
  p50_ms: number | null;
  p90_ms: number | null;
  p99_ms: number | null;
}

export interface Figures {
  calls: number;
  live: number;
  duration_ms: number;
  endings: Record<string, number>;
  latency: Record<Stage, StageLatency>;
  barge_ins: number;
  false_barge_ins: number;
  suppressed: number;
  heard_ratio: number | null;
  silence_ratio: number | null;
  refused_calls: number;
  refused_dials: number;
  cost_micros: number | null;
  without_cost: number;
  /** How many calls each figure is made of; the filter `figure` has the same names. */
  calls_of: Record<string, number>;
}

export interface Group {
  key: string;
  figures: Figures;
}

export interface Quality {
  currency: string;
  total: Figures;
  groups: Group[];
}

export const DAY_MS = 86_400_000;

/** Return the day of a moment, in UTC, as the API names it. */
export function dayOf(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}

/** Return every day from one to another, both included. */
export function daysBetween(first: string, last: string): string[] {
  const days: string[] = [];
  for (let at = Date.parse(first); at <= Date.parse(last); at += DAY_MS) days.push(dayOf(at));
  return days;
}

/** Which calls are meant: all filters that /calls takes, too. */
export interface Which {
  agent?: string | null;
  since?: string | null;
  until?: string | null;
  slug?: string | null;
  live?: string | null;
  figure?: string | null;
}

/** Return the link to the calls behind a figure. */
export function callsLink(which: Which): string {
  return address("/calls", { ...which }).slice(PREFIX.length);
}

/** Return the filter of one day. */
export function onDay(day: string): Which {
  return { since: `${day}T00:00Z`, until: `${dayOf(Date.parse(day) + DAY_MS)}T00:00Z` };
}

/** Return an amount, which is given in millionths. */
export function money(micros: number | null, currency: string): string {
  if (micros === null) return "–";
  const amount = micros / 1_000_000;
  const digits = amount !== 0 && Math.abs(amount) < 0.1 ? 4 : 2;
  return `${amount.toFixed(digits)} ${currency}`;
}
