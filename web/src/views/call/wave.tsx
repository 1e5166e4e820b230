/** The waveform of a call: the caller above, the agent below, and on them what happened. */
import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import WaveSurfer from "wavesurfer.js";
import RegionsPlugin from "wavesurfer.js/plugins/regions";
import { duration } from "../../format";
import { theme } from "../../theme";
import { Button } from "../../ui";
import type { Player } from "./player";
import type { Mark, Peaks } from "./record";

const ZOOM_MAX = 256;

/** Marks that are drawn at once: those of the visible part, the longest first. */
const MARKS_MAX = 200;

/** Pixels that a letter of a label takes, and what is around it. */
const LETTER_PX = 7;
const AROUND_PX = 10;

const COLOURS: Record<Mark["tone"], string> = {
  latency: "color-mix(in srgb, var(--agent) 22%, transparent)",
  interrupted: "color-mix(in srgb, var(--fault) 55%, transparent)",
  function: "color-mix(in srgb, var(--function) 30%, transparent)",
  key: "color-mix(in srgb, var(--caller) 45%, transparent)",
  operator: "color-mix(in srgb, var(--operator) 25%, transparent)",
  fault: "color-mix(in srgb, var(--fault) 40%, transparent)",
  silenced: "color-mix(in srgb, var(--muted) 30%, transparent)",
};

/** Return the colour of a variable as the canvas takes it. */
function colour(name: string): string {
  const probe = document.createElement("span");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

/** Peaks as the library takes them. Speech is far below the loudest sound, so they are spread. */
function drawn(peaks: readonly number[]): number[] {
  return peaks.map((peak) => Math.sqrt(peak / 255));
}

interface Props {
  player: Player;
  peaks: Peaks;
  /** Marks with times of the recording, in ms. */
  marks: readonly Mark[];
}

export function Wave({ player, peaks, marks }: Props): JSX.Element {
  const box = useRef<HTMLDivElement>(null);
  const surfer = useRef<WaveSurfer | null>(null);
  const zoom = useSignal(1);
  useEffect(() => {
    if (!box.current) return undefined;
    const regions = RegionsPlugin.create();
    const made = WaveSurfer.create({
      container: box.current,
      media: player.audio,
      peaks: [drawn(peaks.caller), drawn(peaks.agent)],
      duration: peaks.length_ms / 1000,
      splitChannels: channels(),
      height: 56,
      cursorWidth: 2,
      cursorColor: colour("--focus"),
      dragToSeek: true,
      hideScrollbar: false,
      plugins: [regions],
    });
    surfer.current = made;
    let due = 0;
    const draw = (): void => {
      cancelAnimationFrame(due);
      due = requestAnimationFrame(() => drawMarks(made, regions, marks, peaks.length_ms));
    };
    const ends = [
      made.on("redrawcomplete", draw),
      made.on("scroll", draw),
      made.on("interaction", (seconds) => (player.at.value = seconds * 1000)),
    ];
    const recolour = (): void => {
      // The theme's attribute is set after the signal.
      requestAnimationFrame(() =>
        made.setOptions({ splitChannels: channels(), cursorColor: colour("--focus") }),
      );
    };
    const dark = window.matchMedia("(prefers-color-scheme: dark)");
    dark.addEventListener("change", recolour);
    let first = true;
    const unfollow = theme.subscribe(() => {
      if (first) first = false;
      else recolour();
    });
    return () => {
      dark.removeEventListener("change", recolour);
      unfollow();
      for (const end of ends) end();
      cancelAnimationFrame(due);
      surfer.current = null;
      made.destroy();
    };
  }, [player, peaks, marks]);

  function zoomBy(factor: number): void {
    const made = surfer.current;
    if (!made) return;
    zoom.value = Math.min(ZOOM_MAX, Math.max(1, zoom.value * factor));
    const fit = made.getWidth() / (peaks.length_ms / 1000);
    made.zoom(zoom.value === 1 ? 0 : fit * zoom.value);
    made.setTime(player.at.value / 1000);
  }

  return (
    <div class="call-wave">
      <div class="call-wave-sides" aria-hidden="true">
        <span class="caller">Caller</span>
        <span class="agent">Agent</span>
      </div>
      {/* The slider below does the same by keyboard, and the timeline has all marks as text. */}
      <div class="call-wave-box" ref={box} aria-hidden="true" />
      <div class="call-wave-zoom">
        <Button small aria-label="Zoom out" disabled={zoom.value === 1 && "All of it is shown."} onClick={() => zoomBy(1 / 2)}>−</Button>
        <Button small aria-label="Zoom in" disabled={zoom.value === ZOOM_MAX && "It is not finer than this."} onClick={() => zoomBy(2)}>+</Button>
      </div>
    </div>
  );
}

function channels(): { waveColor: string; progressColor: string }[] {
  return ["--caller", "--agent"].map((name) => ({
    waveColor: colour(name),
    progressColor: colour("--text"),
  }));
}

/** Draw the marks of the visible part, with labels where there is room. */
function drawMarks(
  made: WaveSurfer,
  regions: ReturnType<typeof RegionsPlugin.create>,
  marks: readonly Mark[],
  lengthMs: number,
): void {
  const width = made.getWrapper().scrollWidth;
  const pxPerMs = width / Math.max(1, lengthMs);
  const from = made.getScroll() / pxPerMs;
  const to = from + made.getWidth() / pxPerMs;
  const seen = marks
    .filter((mark) => mark.to >= from && mark.from <= to && mark.to >= 0 && mark.from <= lengthMs)
    .sort((a, b) => b.to - b.from - (a.to - a.from))
    .slice(0, MARKS_MAX);
  const labelled = withRoom(seen, pxPerMs);
  regions.clearRegions();
  for (const mark of seen) {
    regions.addRegion({
      start: Math.max(0, mark.from) / 1000,
      end: Math.min(mark.to, lengthMs) / 1000,
      color: COLOURS[mark.tone],
      drag: false,
      resize: false,
      ...(labelled.has(mark) ? { content: labelOf(mark) } : {}),
    });
  }
}

/** Return the marks whose labels do not cover each other; those of latencies come first. */
function withRoom(marks: readonly Mark[], pxPerMs: number): Set<Mark> {
  const labelled = new Set<Mark>();
  const taken: [from: number, to: number][] = [];
  const inOrder = [...marks].sort(
    (a, b) => Number(b.tone === "latency") - Number(a.tone === "latency") || a.from - b.from,
  );
  for (const mark of inOrder) {
    const from = mark.from * pxPerMs;
    const to = from + mark.label.length * LETTER_PX + AROUND_PX;
    if (taken.some(([left, right]) => from < right && to > left)) continue;
    taken.push([from, to]);
    labelled.add(mark);
  }
  return labelled;
}

function labelOf(mark: Mark): HTMLElement {
  const label = document.createElement("span");
  label.textContent = mark.label; // a text node: names come from calls
  Object.assign(label.style, {
    font: "600 11px system-ui, sans-serif",
    color: "var(--text)",
    padding: "0 3px",
    whiteSpace: "nowrap",
    pointerEvents: "none",
  });
  return label;
}

/** Where it plays, for keyboard and screen readers. */
export function Position({ player }: { player: Player }): JSX.Element {
  const at = player.at.value;
  return (
    <input
      type="range"
      class="call-position"
      aria-label="Position in the recording"
      aria-valuetext={`${duration(at)} of ${duration(player.lengthMs)}`}
      min={0}
      max={Math.ceil(player.lengthMs)}
      step={100}
      value={at}
      onInput={(event) => player.seek(event.currentTarget.valueAsNumber)}
    />
  );
}
