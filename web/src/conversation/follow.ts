/**
 * The conversation of a live call: what the record has, and every event since.
 *
 * The record lags behind the live stream by moments. So events are gathered first, the record is
 * loaded, and the events that it does not have yet are added.
 */
import { type ReadonlySignal, signal } from "@preact/signals";
import { get, type Problem, problemOf } from "../api";
import { type LiveEvent, onEvent, onRefresh, recentEvents } from "../live";
import { type Conversation, EMPTY, extended, type Line, UNKNOWN } from "./lines";
import { type Entry, ofTimeline } from "./record";

export interface Followed {
  talk: ReadonlySignal<Conversation>;
  /** Why what was said before is not shown; null: it is. */
  problem: ReadonlySignal<Problem | null>;
  loading: ReadonlySignal<boolean>;
  again: () => void;
  stop: () => void;
}

/** Follow the conversation of a call until `stop`. */
export function followConversation(callSid: string): Followed {
  const talk = signal<Conversation>(EMPTY);
  const problem = signal<Problem | null>(null);
  const loading = signal(true);
  let waiting: LiveEvent[] | null = null;
  let round = 0;

  async function load(): Promise<void> {
    round += 1;
    const mine = round;
    waiting = recentEvents(callSid);
    loading.value = true;
    let timeline: readonly Entry[] = [];
    try {
      timeline = (await get<{ timeline: Entry[] }>(`/calls/${encodeURIComponent(callSid)}`)).timeline;
      problem.value = null;
    } catch (error) {
      problem.value = problemOf(error);
    }
    if (mine !== round) return;
    talk.value = merged(timeline, waiting ?? []);
    waiting = null;
    loading.value = false;
  }

  const endEvents = onEvent((event) => {
    if (event.callSid !== callSid) return;
    if (waiting) waiting.push(event);
    else talk.value = extended(talk.value, event);
  });
  const endRefresh = onRefresh(() => void load());
  void load();
  return {
    talk,
    problem,
    loading,
    again: () => void load(),
    stop: () => {
      round += 1;
      endEvents();
      endRefresh();
    },
  };
}

/** Return the conversation of a record and of the events that may have come after it. */
export function merged(timeline: readonly Entry[], events: readonly LiveEvent[]): Conversation {
  let talk = ofTimeline(timeline);
  const announced = events.some((event) => event.type === "AgentAnnounced" && !isOver(event.utterance, events));
  // What is being said now has no number in the record: its events tell it anew, if all are here.
  const speaking = talk.lines.filter((line) => line.kind === "agent" && line.state === "speaking");
  if (announced) talk = { ...talk, lines: talk.lines.filter((line) => !speaking.includes(line)) };
  else talk = { ...talk, open: speaking.map((line) => [UNKNOWN, line.key]) };
  const ends = lastEnd(timeline);
  for (const event of events) if (!isIn(timeline, talk.lines, event, ends)) talk = extended(talk, event);
  return talk;
}

function isOver(utterance: number, events: readonly LiveEvent[]): boolean {
  const from = events.findIndex((event) => event.type === "AgentAnnounced" && event.utterance === utterance);
  return events.slice(from).some((event) => event.type === "AgentSaid");
}

function lastEnd(timeline: readonly Entry[]): number {
  return timeline.reduce(
    (end, entry) => (entry.kind === "utterance" && entry.who === "agent" && !isOpen(entry) ? Math.max(end, entry.end_ms) : end),
    -1,
  );
}

function isOpen(entry: Entry & { kind: "utterance" }): boolean {
  return entry.estimated && !entry.interrupted;
}

/** Return true if the record has the event already. */
function isIn(timeline: readonly Entry[], lines: readonly Line[], event: LiveEvent, lastSaidMs: number): boolean {
  switch (event.type) {
    case "CallerSaid":
      return timeline.some((entry) => entry.kind === "utterance" && entry.who === "caller" && entry.end_ms === event.atMs);
    case "AgentSaid":
    case "AgentAnnounced":
    case "AgentHeard":
      return event.atMs <= lastSaidMs;
    case "FunctionCalled":
      return lines.some((line) => line.key === `function ${event.id}`);
    case "Answered":
      return timeline.some((entry) => entry.kind === "turn" && entry.first_played_ms === event.first_played_ms && near(entry, event));
    case "LatencyReported":
      return timeline.some((entry) => entry.kind === "turn" && entry.think_ms === event.think_ms && near(entry, event));
    case "FunctionAnswered":
    case "FunctionDropped":
    case "FunctionFinishedLate":
      return false; // taking it twice changes nothing
    default:
      return timeline.some((entry) => entry.at_ms === event.atMs && entry.kind !== "utterance" && entry.kind !== "turn" && nameOf(entry) === event.type);
  }
}

function near(entry: Entry, event: LiveEvent): boolean {
  return Math.abs(entry.at_ms - event.atMs) < 5000;
}

function nameOf(entry: Entry): string {
  const names: Record<string, string> = { key: "KeyPressed", message: "MessageTaken", dial: "Dialled", agent_session: "AgentConnected" };
  return "event" in entry ? entry.event : (names[entry.kind] ?? "");
}
