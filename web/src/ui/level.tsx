import type { ReadonlySignal } from "@preact/signals";
import type { JSX } from "preact";

/** Loudness that fills nothing of the bar, in dB below full scale. */
const FLOOR_DB = 50;

/** A bar as long as a voice is loud. `level`: the loudest sample, of a full scale of 1. */
export function Level(props: {
  name: string;
  tone: "caller" | "agent" | "operator";
  level: ReadonlySignal<number>;
}): JSX.Element {
  const decibels = 20 * Math.log10(Math.max(props.level.value, 1e-6));
  const share = Math.max(0, Math.min(1, 1 + decibels / FLOOR_DB));
  return (
    <div class="level">
      <span class="small">{props.name}</span>
      <div
        class={`meter ${props.tone}`}
        role="meter"
        aria-label={`Loudness: ${props.name}`}
        aria-valuemin={0}
        aria-valuemax={100}
        aria-valuenow={Math.round(100 * share)}
      >
        <div style={{ transform: `scaleX(${share})` }} />
      </div>
    </div>
  );
}
