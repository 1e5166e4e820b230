/** One call: heard, read and explained. */
import { useComputed, useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useMemo } from "preact/hooks";
import { get } from "../../api";
import { amount, duration, millis, sentence as capital } from "../../format";
import { onEvent } from "../../live";
import { place, setQuery } from "../../router";
import type { ViewProps } from "../../shell";
import { Ago, Badge, Button, ErrorBox, Loading, Panel, Stat, Stats, Tabs, useLoad } from "../../ui";
import "./call.css";
import { Controls } from "./controls";
import { cameBy, Details, NoCall } from "./details";
import { Player } from "./player";
import { type CallRecord, marksOf, medianLatency, type Peaks, recordingStart } from "./record";
import { indexAt, Timeline } from "./timeline";
import { Wave } from "./wave";
import { Wire } from "./wire";

export default function CallView({ param: sid }: ViewProps): JSX.Element {
  const path = `/calls/${encodeURIComponent(sid)}`;
  const record = useLoad(sid, (signal) => get<CallRecord>(path, {}, signal));
  useEffect(
    () =>
      onEvent((event) => {
        // The record has the end of a call a moment after it was told.
        if (event.callSid === sid && event.type === "CallEnded") setTimeout(record.again, 1000);
      }),
    [sid],
  );
  if (record.data?.call.sid === sid) return <Call key={sid} record={record.data} again={record.again} />;
  if (record.problem) return <NoCall problem={record.problem} again={record.again} />;
  return <Loading what="Looking the call up" />;
}

function Call({ record, again }: { record: CallRecord; again: () => void }): JSX.Element {
  const { call } = record;
  const player = usePlayer(record);
  const follow = useSignal(true);
  const started = useMemo(() => recordingStart(record.timeline), [record]);
  const current = useComputed(() =>
    player ? indexAt(record.timeline, player.at.value + started) : -1,
  );
  const hear = player && ((ms: number): void => void player.play(ms - started));
  const tab = place.value.query.get("tab") === "wire" ? "wire" : "timeline";
  return (
    <>
      <header class="view-head">
        <h1>{call.direction === "outbound" ? `Call to ${call.to_number || "an erased number"}` : `Call from ${call.from_number || "an unknown number"}`}</h1>
        <a href="/calls">All calls</a>
      </header>
      <div class="stack">
        <Ending record={record} again={again} />
        <Summary record={record} />
        {player && <Recording player={player} record={record} started={started} follow={follow} />}
        <div class="call-columns">
          <div>
            <Tabs
              label="What is shown"
              tabs={[["timeline", "Timeline"], ["wire", "Wire log"]] as const}
              chosen={tab}
              onChoose={(chosen) => setQuery({ tab: chosen === "wire" ? chosen : null })}
            >
              {tab === "wire" ? (
                <Wire sid={call.sid} />
              ) : (
                <Timeline timeline={record.timeline} current={current.value} follow={follow.value} play={hear} />
              )}
            </Tabs>
          </div>
          <Details record={record} />
        </div>
      </div>
    </>
  );
}

/** Return a player of a call's recording, which ends with the view; null without a recording. */
function usePlayer(record: CallRecord): Player | null {
  const { sid, recording, live } = record.call;
  const lengthMs = record.recording_ms;
  const player = useMemo(
    () => (recording && !live ? new Player(sid, lengthMs ?? record.call.duration_ms ?? 0) : null),
    [sid, recording, live, lengthMs],
  );
  useEffect(() => () => player?.close(), [player]);
  return player;
}

/** Why the call ended, in words. */
function Ending({ record, again }: { record: CallRecord; again: () => void }): JSX.Element {
  const { call, detail } = record;
  if (call.live) {
    return (
      <p class="call-ending">
        <strong>This call is live.</strong>{" "}
        <a class="button primary small" href={`/live/${encodeURIComponent(call.sid)}`}>Listen and act on it</a>{" "}
        <Button small onClick={again}>Load what has happened since</Button>
      </p>
    );
  }
  const normal = call.fault === null || call.fault === "nobody";
  return (
    <div class={`call-ending ${normal ? "" : "fault"}`}>
      <p>
        <strong>{sentence(call.words ?? "It has no end in the record")}</strong>{" "}
        {!normal && <Badge tone="fault">by {call.fault}</Badge>}{" "}
        {call.slug && <a class="mono small" href={`/calls?slug=${encodeURIComponent(call.slug)}`}>{call.slug}</a>}
      </p>
      {detail && <p>The other side's reason: {detail}</p>}
      {record.text_erased && (
        <p class="muted">What was said, and the numbers, were erased by their age. Times and outcomes are still here.</p>
      )}
    </div>
  );
}

function sentence(text: string): string {
  const first = capital(text);
  return /[.!?]$/.test(first) ? first : `${first}.`;
}

function Summary({ record }: { record: CallRecord }): JSX.Element {
  const { call } = record;
  const median = medianLatency(record.timeline);
  return (
    <Stats>
      <Stat name="Began"><Ago at={call.started_ms} /></Stat>
      <Stat name="Length">{call.duration_ms === null ? "live" : duration(call.duration_ms)}</Stat>
      <Stat name="Agent">{call.agent}</Stat>
      <Stat name="Came">{cameBy(call.came_by)}</Stat>
      <Stat name="Turns">{call.turns}</Stat>
      <Stat name="Answers, median">{median === null ? "none" : millis(median)}</Stat>
      <Stat name="Barge-ins">{call.interruptions}</Stat>
      <Stat name="Functions">{call.functions}</Stat>
      <Stat name="Troubles">{call.troubles}</Stat>
      {call.cost_micros !== null && <Stat name="Cost">{amount(call.cost_micros / 1e6, record.currency)}</Stat>}
    </Stats>
  );
}

interface RecordingProps {
  player: Player;
  record: CallRecord;
  /** When the recording begins, in ms of the call. */
  started: number;
  follow: { value: boolean };
}

/** The wave and its controls. When the recording is gone, they go, and the timeline stays. */
function Recording({ player, record, started, follow }: RecordingProps): JSX.Element {
  const path = `/calls/${encodeURIComponent(record.call.sid)}/peaks`;
  const peaks = useLoad(path, (signal) => get<Peaks>(path, {}, signal));
  const marks = useMemo(
    () => marksOf(record.timeline).map((mark) => ({ ...mark, from: mark.from - started, to: mark.to - started })),
    [record, started],
  );
  const problem = player.problem.value;
  const gone = problem?.status === 404 ? problem : peaks.problem?.status === 404 ? peaks.problem : null;
  return (
    <Panel title="Recording" class="call-recording">
      {gone ? (
        <ErrorBox problem={gone} />
      ) : (
        <div class="stack tight">
          {peaks.data && <Wave player={player} peaks={peaks.data} marks={marks} />}
          {peaks.problem && <ErrorBox problem={peaks.problem} again={peaks.again} />}
          {!peaks.data && !peaks.problem && <Loading what="Loading the wave" />}
          <Controls player={player} follow={follow.value} onFollow={(on) => (follow.value = on)} />
          {record.recording_fault && (
            <p class="call-fault small">The recording is not whole: {record.recording_fault}.</p>
          )}
        </div>
      )}
    </Panel>
  );
}
