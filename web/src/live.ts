/**
 * Live calls: a snapshot first, then every event, over one stream for the whole page. What an event
 * changes of a call's row comes with it: the server alone decides what a row shows.
 *
 * `calls` are the live calls by CallSid, `connection` is the stream's state. A view that needs each
 * event of a call uses `onEvent`. After a break the stream resumes behind the last event; where the
 * server has dropped that, or was restarted, the snapshot is taken again (`onRefresh`).
 */
import { computed, signal } from "@preact/signals";
import { address, get, open, Problem, problemOf } from "./api";
import type { Event } from "./events";
import { sentEvents } from "./sse";

export type Speaker = "caller" | "agent" | "nobody";

/** A live call, as the server's snapshot has it; events come with what they change of it. */
export interface LiveCall {
  call_sid: string;
  /** The node that has it; null without a fleet. */
  node: string | null;
  agent: string;
  tier: string;
  direction: "inbound" | "outbound";
  by: string;
  from: string;
  to: string;
  /** Milliseconds since 1970. */
  began_ms: number;
  speaking: Speaker;
  last_words: { who: string; text: string } | null;
  /** Latency of the last turn, in ms. */
  turn_ms: number | null;
  turns: number;
  interruptions: number;
  functions: number;
  /** What is wrong with the call now, in words. */
  trouble: string | null;
  agent_state: "dialling" | "connected" | "muted" | "lost";
  caller_state: "ringing" | "connected" | "away" | "transferred" | "lost";
  taken_by: string | null;
  listeners: string[];
}

/** A node of a fleet. Calls of one that is away are shown as they were. */
export interface FleetNode {
  name: string;
  state: "up" | "draining" | "away" | "unknown";
}

interface Snapshot {
  last_event_id: string;
  calls: LiveCall[];
  nodes: FleetNode[];
}

/**
 * An event of a call. Switch on `type`; the fields are those of docs/events.md, and `sentence`
 * tells of it without what was said. `streamId` is unique.
 */
export type LiveEvent = {
  streamId: string;
  callSid: string;
  atMs: number;
  sentence: string;
} & Event;

export type Connection =
  | { kind: "connecting" }
  | { kind: "open" }
  /** The stream broke `since`, in ms since 1970; it is tried again at `next`. */
  | { kind: "lost"; since: number; next: number; problem: Problem };

export const connection = signal<Connection>({ kind: "connecting" });
export const calls = signal<ReadonlyMap<string, LiveCall>>(new Map());

/** The nodes of the fleet; empty without one. */
export const nodes = signal<readonly FleetNode[]>([]);

/** The nodes that nothing is heard of, or that nothing is known of. */
export const silent = computed(() =>
  nodes.value.filter(({ state }) => state === "away" || state === "unknown").map(({ name }) => name),
);

/** The live calls, those with trouble first, then the longest first. */
export const sorted = computed(() =>
  [...calls.value.values()].sort(
    (a, b) => Number(b.trouble !== null) - Number(a.trouble !== null) || a.began_ms - b.began_ms,
  ),
);

type Listener = (event: LiveEvent) => void;
const listeners = new Set<Listener>();
const refreshed = new Set<() => void>();

/** The last events of all calls: what a view that opens a call needs beside the record, which lags. */
const recent: LiveEvent[] = [];
const RECENT_MAX = 1000;

export function recentEvents(callSid: string): LiveEvent[] {
  return recent.filter((event) => event.callSid === callSid);
}

/** Call `listener` with each event of every call. Returns what ends that. */
export function onEvent(listener: Listener): () => void {
  listeners.add(listener);
  return () => void listeners.delete(listener);
}

/** Call `act` after events were lost: what a view has gathered from events must be loaded again. */
export function onRefresh(act: () => void): () => void {
  refreshed.add(act);
  return () => void refreshed.delete(act);
}

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 10_000;

/** A stream that lasted as long was a good one. */
const STEADY_MS = 5000;

/** The stream must show a sign of life, an event or a comment every 15 s, within this time. */
const SILENCE_MAX_MS = 40_000;

let running: AbortController | null = null;
let wake: () => void = () => {};

/** Aborted while the page rests. */
let rest = new AbortController();

/** Follow the live calls until `stopFollowing`. The shell does it while somebody is signed in. */
export function startFollowing(): void {
  if (running) return;
  running = new AbortController();
  void follow(running.signal);
}

export function stopFollowing(): void {
  running?.abort();
  running = null;
  wake();
  calls.value = new Map();
  nodes.value = [];
  connection.value = { kind: "connecting" };
}

/** Try to connect now, without waiting for the next attempt. */
export function reconnect(): void {
  wake();
}

/** End the stream until `goOnFollowing`: nobody sees the page. */
export function restFollowing(): void {
  rest.abort();
}

/** Follow on behind the last event that came. */
export function goOnFollowing(): void {
  if (!rest.signal.aborted) return;
  rest = new AbortController();
  wake();
}

async function follow(aborted: AbortSignal): Promise<void> {
  let lastId: string | null = null;
  let failures = 0;
  let since = 0;
  while (!aborted.aborted) {
    const began = Date.now();
    const resting = rest.signal;
    if (resting.aborted) {
      await woken();
      continue;
    }
    try {
      if (lastId === null) lastId = await refresh(aborted, failures > 0);
      for await (const id of stream(lastId, aborted)) {
        if (connection.value.kind !== "open") connection.value = { kind: "open" };
        if (id === null) {
          lastId = null;
          break; // events were lost
        }
        if (id) lastId = id;
      }
      if (lastId === null) continue;
      throw new Problem("The server ended the live stream.", "Wait: it is tried again.", "", 0);
    } catch (error) {
      if (aborted.aborted) return;
      if (resting.aborted) continue;
      const problem = problemOf(error);
      if (problem.status === 401) return; // the sign-in page follows
      // A proxy may cut every stream at once: that is not a new break each time.
      if (Date.now() - began > STEADY_MS) failures = 0;
      if (failures === 0) since = Date.now();
      const wait = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** failures) * (0.75 + Math.random() / 2);
      failures += 1;
      connection.value = { kind: "lost", since, next: Date.now() + wait, problem };
      await woken(wait);
    }
  }
}

/** Wait until the next attempt is due, or is wanted now. */
function woken(waitMs?: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = waitMs === undefined ? undefined : setTimeout(resolve, waitMs);
    wake = () => {
      clearTimeout(timer);
      resolve();
    };
  });
}

async function refresh(aborted: AbortSignal, again: boolean): Promise<string> {
  const snapshot = await get<Snapshot>("/live/snapshot", {}, aborted);
  calls.value = new Map(snapshot.calls.map((call) => [call.call_sid, call]));
  nodes.value = snapshot.nodes;
  if (again) for (const act of refreshed) act();
  return snapshot.last_event_id;
}

/** Read the stream from behind `lastId`. Yields the id of each block; null when events were lost. */
async function* stream(lastId: string, aborted: AbortSignal): AsyncGenerator<string | null> {
  const silence = new AbortController();
  let timer = 0;
  const alive = () => {
    clearTimeout(timer);
    timer = window.setTimeout(() => silence.abort(), SILENCE_MAX_MS);
  };
  alive();
  try {
    const until = AbortSignal.any([aborted, silence.signal, rest.signal]);
    const response = await open("GET", address("/live", { after: lastId }), undefined, until);
    if (!response.body) throw new Problem("The live stream is empty.", "Load the page again.", "", 0);
    for await (const sent of sentEvents(response.body)) {
      alive();
      if (sent.name === "gap") yield null;
      else if (sent.name === "nodes") nodes.value = (JSON.parse(sent.data) as Snapshot).nodes;
      else if (sent.data) take(sent.id, sent.name, sent.data);
      yield sent.id;
    }
  } catch (error) {
    if (silence.signal.aborted && !aborted.aborted) {
      throw new Problem("The server has been silent for 40 s.", "Wait: it is tried again.", "", 0);
    }
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

interface Sent {
  call_sid: string;
  at_ms: number;
  event: object;
  words: string;
  /** What changes of the call's row; null: the call is over. */
  call?: Partial<LiveCall> | null;
}

function take(streamId: string, type: string, data: string): void {
  const { call_sid, at_ms, event, words, call } = JSON.parse(data) as Sent;
  // The server declares the events; events.ts is made from that declaration.
  const taken = { ...event, streamId, callSid: call_sid, atMs: at_ms, sentence: words, type } as LiveEvent;
  if (call !== undefined) calls.value = changed(calls.value, call_sid, call);
  recent.push(taken);
  if (recent.length > RECENT_MAX) recent.splice(0, RECENT_MAX / 2);
  for (const listener of listeners) listener(taken);
}

function changed(
  before: ReadonlyMap<string, LiveCall>,
  callSid: string,
  change: Partial<LiveCall> | null,
): ReadonlyMap<string, LiveCall> {
  const now = new Map(before);
  if (change === null) now.delete(callSid);
  // The first change of a call that the snapshot does not have is its whole row.
  else now.set(callSid, { ...before.get(callSid), ...change } as LiveCall);
  return now;
}
