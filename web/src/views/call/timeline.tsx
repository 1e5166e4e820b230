/** The timeline of a call. Of a long one only the part is in the page that is seen, or near it. */
import type { JSX } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { Empty, Select, TextField } from "../../ui";
import { place, setQuery } from "../../router";
import { Row } from "./entries";
import type { Entry } from "./record";

/** Entries that are put into the page, and taken out, together. */
const CHUNK = 50;

/** Pixels of an entry, before it is measured. */
const ROW_PX = 44;

/** Pixels beyond the window in which chunks are kept in the page. */
const NEAR_PX = 1200;

const KINDS: readonly (readonly [string, string])[] = [
  ["", "Everything"],
  ["said", "What was said"],
  ["functions", "Functions, keys and messages"],
  ["turns", "Answers and barge-ins"],
  ["troubles", "Troubles"],
];

function isShown(entry: Entry, kind: string): boolean {
  switch (kind) {
    case "said":
      return entry.kind === "utterance";
    case "functions":
      return ["function", "key", "message", "dial"].includes(entry.kind);
    case "turns":
      return entry.kind === "turn" || (entry.kind === "event" && entry.event.startsWith("Interruption")) || (entry.kind === "event" && entry.event === "Interrupted");
    case "troubles":
      return entry.kind === "trouble";
    default:
      return true;
  }
}

function textOf(entry: Entry): string {
  return JSON.stringify(Object.values(entry)).toLowerCase();
}

interface Props {
  timeline: readonly Entry[];
  /** Index, in `timeline`, of what plays; -1 for none. */
  current: number;
  follow: boolean;
  play: ((ms: number) => void) | null;
}

export function Timeline({ timeline, current, follow, play }: Props): JSX.Element {
  const kind = place.value.query.get("show") ?? "";
  const wanted = place.value.query.get("find") ?? "";
  const rows = useMemo(() => {
    const text = wanted.trim().toLowerCase();
    return timeline
      .map((entry, index) => ({ entry, index }))
      .filter(({ entry }) => isShown(entry, kind) && (!text || textOf(entry).includes(text)));
  }, [timeline, kind, wanted]);
  const chunks = useMemo(() => {
    const made: (typeof rows)[] = [];
    for (let at = 0; at < rows.length; at += CHUNK) made.push(rows.slice(at, at + CHUNK));
    return made;
  }, [rows]);
  return (
    <div class="stack">
      <div class="call-filters">
        <Select label="Show" value={kind} onValue={(show) => setQuery({ show })} options={KINDS} />
        <TextField label="Find in this call" value={wanted} onValue={(find) => setQuery({ find })} input={{ type: "search" }} />
      </div>
      {rows.length === 0 ? (
        <Empty title={timeline.length ? "Nothing matches" : "Nothing has happened in this call"}>
          {timeline.length > 0 && <p>Show everything, or find another text.</p>}
        </Empty>
      ) : (
        <>
          <p class="hidden-text" role="status">{rows.length} entries</p>
          <div class="call-timeline" role="group" aria-label="Timeline">
            {chunks.map((chunk, place) => (
              <Chunk
                key={`${kind} ${wanted} ${place}`}
                rows={chunk}
                current={chunk.some((row) => row.index === current) ? current : -1}
                follow={follow}
                play={play}
                always={chunks.length <= 4}
              />
            ))}
          </div>
        </>
      )}
    </div>
  );
}

interface ChunkProps {
  rows: readonly { entry: Entry; index: number }[];
  current: number;
  follow: boolean;
  play: Props["play"];
  /** True to keep it in the page: a short call is not worth the trouble. */
  always: boolean;
}

function Chunk({ rows, current, follow, play, always }: ChunkProps): JSX.Element {
  const box = useRef<HTMLOListElement>(null);
  const [near, setNear] = useState(always);
  const [height, setHeight] = useState(rows.length * ROW_PX);
  useEffect(() => {
    if (always || !box.current) return undefined;
    const observer = new IntersectionObserver(
      ([seen]) => {
        if (!seen) return;
        // What is taken out leaves its height behind, so that nothing jumps.
        if (!seen.isIntersecting) setHeight(seen.boundingClientRect.height || rows.length * ROW_PX);
        setNear(seen.isIntersecting);
      },
      { rootMargin: `${NEAR_PX}px 0px` },
    );
    observer.observe(box.current);
    return () => observer.disconnect();
  }, [always, rows]);
  useEffect(() => {
    if (current < 0 || !follow || !box.current) return;
    const row = box.current.querySelector("[aria-current]") ?? box.current;
    row.scrollIntoView({ block: "nearest" });
  }, [current, follow, near]);
  return (
    <ol ref={box} class="call-chunk" style={near ? {} : { height: `${height}px` }} start={(rows[0]?.index ?? 0) + 1}>
      {near && rows.map(({ entry, index }) => <Row key={index} entry={entry} current={index === current} play={play} />)}
    </ol>
  );
}

/** Return the index of what was being said, or happened last, at a time of the call; -1 before all. */
export function indexAt(timeline: readonly Entry[], ms: number): number {
  let low = 0;
  let high = timeline.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((timeline[middle]?.at_ms ?? 0) <= ms) low = middle + 1;
    else high = middle;
  }
  for (let at = low - 1; at >= 0; at -= 1) if (timeline[at]?.kind === "utterance") return at;
  return -1;
}
