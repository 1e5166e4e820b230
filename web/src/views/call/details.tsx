/** What is known of a call beside its timeline: ids, cost by meter, delays; and ways to take it along. */
import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { address, get, open, post, type Problem, problemOf, remove } from "../../api";
import { amount, duration, millis, words as asWords } from "../../format";
import { navigate } from "../../router";
import { may } from "../../session";
import { ActionButton, Ago, Badge, Button, Dialog, Empty, ErrorBox, Facts, Panel, Select, useLoad } from "../../ui";
import { CopyButton } from "./copy";
import type { AgentSession, CallRecord, Percentiles, Prices } from "./record";

export function Details({ record }: { record: CallRecord }): JSX.Element {
  const { call } = record;
  const sessions = record.timeline.filter((entry): entry is AgentSession => entry.kind === "agent_session");
  return (
    <div class="stack">
      <Panel title="Call">
        <Facts
          facts={[
            ["From", call.from_number],
            ["To", call.to_number],
            ["Agent", <a href={`/agents/${encodeURIComponent(call.agent)}`}>{call.agent}</a>],
            ["Direction", `${call.direction}, ${cameBy(call.came_by)}`],
            ["Began", <Ago at={call.started_ms} />],
            ["Stream after", record.stream_at_ms === null ? "no stream came" : millis(record.stream_at_ms)],
            ["Lookup", record.lookup && `${asWords(record.lookup.outcome)} after ${millis(record.lookup.after_ms)}${record.lookup.why ? `: ${record.lookup.why}` : ""}`],
            ["CallSid", <Id text={call.sid} what="CallSid" />],
            ["Account", <Id text={record.account_sid} what="account SID" />],
            ...sessions.map(
              (session, at): readonly [string, JSX.Element] => [
                sessions.length > 1 ? `Deepgram ${at + 1}` : "Deepgram",
                <Id text={session.request_id} what="request id" />,
              ],
            ),
            ["Recording", call.recording],
          ]}
        />
        {record.recording_fault && <p class="call-fault">{record.recording_fault}</p>}
      </Panel>
      {Object.keys(record.variables).length > 0 && (
        <Panel title="Variables">
          <Facts facts={Object.entries(record.variables)} />
        </Panel>
      )}
      <Cost record={record} />
      {record.delays && (
        <Panel title="Delays in Offhook">
          <Facts
            facts={[
              ["To the agent", edges(record.delays.to_agent)],
              ["To the caller", edges(record.delays.to_caller)],
              ["Barge-in to clear", edges(record.delays.to_clear)],
            ]}
          />
        </Panel>
      )}
      <Take record={record} />
    </div>
  );
}

function Id({ text, what }: { text: string; what: string }): JSX.Element {
  if (!text) return <span class="muted">not told</span>;
  return (
    <span class="row call-id">
      <span class="mono small">{text}</span>
      <CopyButton text={text} what={what} />
    </span>
  );
}

export function cameBy(by: string): string {
  const names: Record<string, string> = {
    webhook: "by the voice webhook",
    bin: "by a TwiML Bin",
    api: "placed by us",
    browser: "from the browser",
  };
  return names[by] ?? by;
}

function edges(of: Percentiles): string | null {
  if (!of.samples) return null;
  const edge = (ms: number | null): string => (ms === null ? "over 250 ms" : `up to ${ms} ms`);
  return `half ${edge(of.p50_ms)}, 95 % ${edge(of.p95_ms)}`;
}

/** What each meter has counted, and what that comes to. */
function Cost({ record }: { record: CallRecord }): JSX.Element {
  const prices = useLoad("prices", (signal) => get<Prices>("/prices", {}, signal));
  const { meters, currency, call } = record;
  const of = prices.data;
  const twilio = [
    {
      name: "Twilio, call",
      used: meters.twilio_minutes === null ? "not told yet" : `${meters.twilio_minutes} min begun${meters.twilio_status ? `, ${meters.twilio_status}` : ""}`,
      price: of?.twilio_minute,
      micros: meters.twilio_micros,
    },
    {
      name: "Twilio, stream",
      used: `${meters.stream_minutes} min begun`,
      price: of?.stream_minute,
      micros: meters.stream_micros,
    },
  ];
  const rows = [
    // A call from the browser does not pass Twilio.
    ...(call.came_by === "browser" ? [] : twilio),
    {
      name: `Deepgram, ${meters.deepgram_tier}`,
      used: duration(meters.deepgram_ms),
      price: of?.deepgram_minute[meters.deepgram_tier],
      micros: meters.deepgram_micros,
    },
  ];
  const total = call.cost_micros;
  return (
    <Panel title="Cost by meter">
      <table class="table call-cost">
        <caption class="hidden-text">Cost by meter</caption>
        <thead>
          <tr>
            <th scope="col">Meter</th>
            <th scope="col">Used</th>
            <th scope="col" class="right">Cost</th>
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={row.name}>
              <th scope="row">
                {row.name}
                {row.price !== null && row.price !== undefined && (
                  <div class="muted small">now {amount(row.price, currency)} a minute</div>
                )}
              </th>
              <td>{row.used}</td>
              <td class="right">{row.micros === null ? "" : amount(row.micros / 1e6, currency)}</td>
            </tr>
          ))}
          <tr>
            <th scope="row">Together</th>
            <td />
            <td class="right"><strong>{total === null ? "no prices" : amount(total / 1e6, currency)}</strong></td>
          </tr>
        </tbody>
      </table>
      {total === null && <p class="muted small">Set <code>records.prices</code> in offhook.yaml; calls from then on have a cost.</p>}
      {total !== null && meters.deepgram_micros === null && (
        <p class="muted small">The version of Offhook that carried this call kept the sum alone.</p>
      )}
    </Panel>
  );
}

const LASTS: readonly (readonly [string, string])[] = [
  ["3600", "an hour"],
  ["86400", "a day"],
  ["604800", "a week"],
];

/** Downloads, and a link that expires. */
function Take({ record }: { record: CallRecord }): JSX.Element {
  const { sid, recording } = record.call;
  const linking = useSignal(false);
  const erasing = useSignal(false);
  const path = `/calls/${encodeURIComponent(sid)}`;
  return (
    <Panel title="Take along">
      <div class="row">
        <ActionButton small act={() => saveJson(path, `${sid}.json`)}>Download as JSON</ActionButton>
        {recording && (
          <>
            <a class="button small" href={address(`${path}/audio`, { format: "pcm16" })} download={`${sid}.wav`}>
              Download as WAV
            </a>
            <Button small disabled={!may("operator") && "Your role is viewer: an operator can make links."} onClick={() => (linking.value = true)}>
              Link that expires…
            </Button>
          </>
        )}
        {!record.call.live && (
          <Button kind="danger" small disabled={!may("admin") && "Only an admin can erase calls."} onClick={() => (erasing.value = true)}>
            Erase…
          </Button>
        )}
      </div>
      {erasing.value && <EraseDialog sid={sid} path={path} onClose={() => (erasing.value = false)} />}
      {linking.value && <LinkDialog path={path} onClose={() => (linking.value = false)} />}
    </Panel>
  );
}

/** Ask whether a call is to be erased; nothing brings it back. */
function EraseDialog({ sid, path, onClose }: { sid: string; path: string; onClose: () => void }): JSX.Element {
  async function erase(): Promise<string> {
    await remove<unknown>(path);
    navigate("/calls", { replace: true });
    return `Call ${sid} was erased`;
  }
  return (
    <Dialog title="Erase this call?" onClose={onClose}>
      <p>Its transcript, its numbers and its recording are removed for good.</p>
      <div class="actions">
        <Button onClick={onClose}>Keep it</Button>
        <ActionButton kind="danger" act={erase}>Erase it for good</ActionButton>
      </div>
    </Dialog>
  );
}

/** Save the record as a file. It is fetched here, so that a failure is told and no file is made. */
async function saveJson(path: string, name: string): Promise<void> {
  const response = await open("GET", address(path));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await response.blob());
  link.download = name;
  link.click();
  // The browser has begun to save it by then.
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

function LinkDialog({ path, onClose }: { path: string; onClose: () => void }): JSX.Element {
  const lasts = useSignal("3600");
  const made = useSignal<{ url: string; expires: number } | null>(null);
  const problem = useSignal<Problem | null>(null);
  async function make(): Promise<void> {
    try {
      problem.value = null;
      const link = await post<{ url: string; expires: number }>(`${path}/links`, { lasts_s: Number(lasts.value) });
      made.value = { ...link, url: `${window.location.origin}${link.url}&format=pcm16` };
    } catch (error) {
      problem.value = problemOf(error);
    }
  }
  return (
    <Dialog title="A link to the recording" onClose={onClose}>
      <div class="stack">
        <p>Whoever has the link can hear this call, and nothing else, without signing in, until it expires.</p>
        {made.value ? (
          <>
            <p class="mono small call-link">{made.value.url}</p>
            <p class="row">
              <CopyButton text={made.value.url} what="link" /> <Badge>expires</Badge> {new Date(made.value.expires * 1000).toLocaleString()}
            </p>
          </>
        ) : (
          <Select label="It is good for" value={lasts.value} onValue={(value) => (lasts.value = value)} options={LASTS} />
        )}
        {problem.value && <ErrorBox problem={problem.value} />}
      </div>
      <div class="actions">
        <Button onClick={onClose}>Close</Button>
        {!made.value && <Button kind="primary" onClick={() => void make()}>Make the link</Button>}
      </div>
    </Dialog>
  );
}

/** What is said in place of a call that is not there. */
export function NoCall({ problem, again }: { problem: Problem; again: () => void }): JSX.Element {
  if (problem.code !== "E-ASK-04") return <ErrorBox problem={problem} again={again} />;
  return (
    <Empty title="There is no such call">
      <p>It was erased, or its CallSid is wrong.</p>
      <a class="button" href="/calls">See all calls</a>
    </Empty>
  );
}
