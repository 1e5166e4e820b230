/** The wire log of a call: what went over both sockets, where the call was captured. */
import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect } from "preact/hooks";
import { address, get, type Problem, problemOf } from "../../api";
import { count, millis, plural } from "../../format";
import { may } from "../../session";
import { ActionButton, Badge, Empty, ErrorBox, Loading } from "../../ui";
import { Long, pretty } from "./entries";

interface WireEntry {
  at_ms: number;
  what: "message" | "audio" | "opened" | "closed" | "unreadable" | "ended";
  leg: "caller" | "agent" | null;
  direction: "in" | "out" | null;
  name: string;
  text: string;
  size: number;
  frames: number;
}

interface WirePage {
  entries: WireEntry[];
  next_cursor: string | null;
  size: number;
}

/** Entries after which further pages take the place of the first ones: the page stays fast. */
const KEPT_MAX = 2000;

export function Wire({ sid }: { sid: string }): JSX.Element {
  const pages = useSignal<WirePage[]>([]);
  const problem = useSignal<Problem | null>(null);
  const allowed = may("operator");
  async function more(): Promise<void> {
    const cursor = pages.value.at(-1)?.next_cursor;
    try {
      const found = await get<WirePage>(`/calls/${encodeURIComponent(sid)}/wire`, { cursor });
      let all = [...pages.value, found];
      while (all.length > 1 && all.reduce((sum, page) => sum + page.entries.length, 0) > KEPT_MAX) all = all.slice(1);
      pages.value = all;
      problem.value = null;
    } catch (error) {
      problem.value = problemOf(error);
    }
  }
  useEffect(() => {
    pages.value = [];
    if (allowed) void more();
  }, [sid, allowed]);
  if (!allowed) {
    return (
      <Empty title="Your role is viewer">
        <p>A wire log has what redaction took out of the record. Ask an admin for the role operator.</p>
      </Empty>
    );
  }
  const last = pages.value.at(-1);
  if (problem.value) {
    return problem.value.status === 404 && problem.value.code === "E-CAP-07" ? (
      <Empty title="The messages of this call were not captured">
        <p>To capture calls from now on, start the server so:</p>
        <p><code>offhook serve --capture captures</code></p>
      </Empty>
    ) : (
      <ErrorBox problem={problem.value} again={() => void more()} />
    );
  }
  if (!last) return <Loading what="Reading the capture" />;
  return (
    <div class="stack">
      <div class="row">
        <span class="muted">Frames of audio are counted. Secrets are masked; everything else is as it was sent.</span>
        <a class="button small push" href={address(`/calls/${encodeURIComponent(sid)}/wire.jsonl`)} download={`${sid}.jsonl`}>
          Download, {count(Math.ceil(last.size / 1000))} kB
        </a>
      </div>
      <ol class="call-timeline call-wire">
        {pages.value.flatMap((page, at) => page.entries.map((entry, place) => <Line key={`${at}.${place}`} entry={entry} />))}
      </ol>
      {last.next_cursor !== null && (
        <p><ActionButton act={more}>Read on</ActionButton></p>
      )}
    </div>
  );
}

function Line({ entry }: { entry: WireEntry }): JSX.Element {
  const other = entry.leg === "caller" ? "Twilio" : "Deepgram";
  const way = entry.direction === "in" ? `${other} → us` : `us → ${other}`;
  return (
    <li class={`call-row ${entry.leg ?? ""}`}>
      <span class="call-time num">{(entry.at_ms / 1000).toFixed(3)}</span>
      <span class="call-who">{entry.leg ? way : "Call"}</span>
      <div class="call-what">{told(entry)}</div>
    </li>
  );
}

function told(entry: WireEntry): JSX.Element {
  switch (entry.what) {
    case "audio":
      return <span class="muted">{plural(entry.frames, "frame")} of audio, {millis(entry.size / 8)}</span>;
    case "opened":
      return <Badge tone="good">the socket is open</Badge>;
    case "closed":
      return <><Badge>the socket is closed</Badge> {entry.text}</>;
    case "ended":
      return <><Badge>the call has ended</Badge> {entry.text}</>;
    case "unreadable":
      return <Badge tone="fault">{count(entry.size)} bytes that could not be read</Badge>;
    default:
      return (
        <details>
          <summary><strong>{entry.name || "message"}</strong> <span class="muted num">{count(entry.size)} bytes</span></summary>
          <pre><Long text={pretty(entry.text)} /></pre>
          {entry.text.length < entry.size / 2 && <p class="muted small">It is longer: the download has all of it.</p>}
        </details>
      );
  }
}
