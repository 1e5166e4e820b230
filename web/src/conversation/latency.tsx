import type { JSX } from "preact";
import { millis } from "../format";
import type { Turn } from "./lines";

const SHOWN = 40;

/** From here on a pause is felt as slow, and then as a fault. */
const SLOW_MS = 1200;
const BAD_MS = 2000;

/** How fast a turn was, as a class of its colour. */
export function pace(ms: number | null): "" | "slow" | "bad" {
  if (ms === null || ms < SLOW_MS) return "";
  return ms < BAD_MS ? "slow" : "bad";
}

/** The delay of each answer as a bar: from the caller's confirmed words to the first sound. */
export function LatencyStrip({ turns }: { turns: readonly Turn[] }): JSX.Element {
  const measured = turns.filter((turn) => turn.firstPlayedMs !== null).slice(-SHOWN);
  const last = measured.at(-1);
  if (!last) return <p class="muted small">No answer was measured yet.</p>;
  const sorted = measured.map((turn) => turn.firstPlayedMs ?? 0).toSorted((a, b) => a - b);
  const top = Math.max(BAD_MS, sorted.at(-1) ?? 0);
  const median = sorted[Math.floor(sorted.length / 2)] ?? 0;
  return (
    <figure class="strip">
      <ol class="strip-bars" aria-label="Latency of each turn">
        {measured.map((turn) => (
          <li
            key={turn.key}
            class={`strip-bar ${pace(turn.firstPlayedMs)}`}
            style={{ height: `${Math.max(4, (100 * (turn.firstPlayedMs ?? 0)) / top)}%` }}
            title={told(turn)}
          >
            <span class="hidden-text">{told(turn)}</span>
          </li>
        ))}
      </ol>
      <figcaption class="row small">
        <span>
          Last <strong class="num">{millis(last.firstPlayedMs ?? 0)}</strong>
        </span>
        <span class="muted">
          median <span class="num">{millis(median)}</span>, slowest{" "}
          <span class="num">{millis(sorted.at(-1) ?? 0)}</span>
        </span>
      </figcaption>
      {last.thinkMs !== null && (
        <p class="muted small num">
          Deepgram, last turn: hearing {part(last.listenMs)}, thinking {part(last.thinkMs)}, speaking{" "}
          {part(last.speakMs)}
        </p>
      )}
    </figure>
  );
}

function part(ms: number | null): string {
  return ms === null ? "not told" : millis(ms);
}

function told(turn: Turn): string {
  return `${millis(turn.firstPlayedMs ?? 0)}`;
}
