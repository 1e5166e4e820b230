/** Curves or stacked bars over days, drawn by uPlot. The table beside says the same in numbers. */
import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { theme } from "../../theme";

export interface Series {
  name: string;
  /** Name of a variable of tokens.css. */
  color: string;
  values: (number | null)[];
  dash?: number[];
}

interface ChartProps {
  title: string;
  days: string[];
  series: Series[];
  stacked?: boolean;
  /** Returns a value as text. */
  format: (value: number) => string;
  /** Opens the calls of a point: the place of its day in `days`, and of its series, or -1. */
  onPoint: (day: number, series: number) => void;
}

const HEIGHT = 240;

/** Return a colour of tokens.css as the browser resolves it: light-dark() depends on the theme. */
function resolved(element: Element, name: string): string {
  const probe = document.createElement("span");
  probe.style.color = `var(${name})`;
  element.append(probe);
  const color = getComputedStyle(probe).color;
  probe.remove();
  return color;
}

/** Return values of stacked series, each on top of those before it; the last is the highest. */
function stacked(series: readonly Series[]): number[][] {
  let below: number[] = [];
  return series.map((each) => {
    below = each.values.map((value, at) => (value ?? 0) + (below[at] ?? 0));
    return below;
  });
}

function options(props: ChartProps, box: Element, width: number): uPlot.Options {
  const muted = resolved(box, "--muted");
  const line = resolved(box, "--line");
  const bars = uPlot.paths.bars?.({ size: [0.7, 40] });
  const axis = { stroke: muted, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 } };
  const drawn = props.series.map((each): uPlot.Series => {
    const color = resolved(box, each.color);
    return {
      label: each.name,
      stroke: color,
      width: 2,
      ...(each.dash ? { dash: each.dash } : {}),
      ...(props.stacked && bars ? { fill: color, paths: bars, points: { show: false }, width: 0 } : {}),
      ...(props.stacked ? {} : { points: { show: props.days.length < 62, size: 6, fill: color } }),
      value: (_self, _raw, _index, at) => {
        const value = at === null ? null : each.values[at];
        return value === null || value === undefined ? "–" : props.format(value);
      },
    };
  });
  return {
    width,
    height: HEIGHT,
    tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
    series: [{ label: "Day", value: (_self, seconds) => day(seconds) }, ...(props.stacked ? drawn.reverse() : drawn)],
    axes: [
      { ...axis, grid: { show: false }, values: (_self, seconds) => seconds.map(day), space: 80, incrs: DAYS },
      { ...axis, size: 64, values: (_self, values) => values.map((value) => props.format(value)) },
    ],
    scales: { x: { range: () => rangeOf(props.days) }, y: { range: (_self, _least, most) => [0, most > 0 ? most * 1.08 : 1] } },
    cursor: { drag: { x: false, y: false }, points: { size: 8 } },
    legend: { live: true },
  };
}

const DAY_S = 86_400;
const DAYS = [1, 2, 7, 14, 30, 91, 182, 365].map((days) => days * DAY_S);

/** Return the first and last second that are shown: uPlot shows years around a single day. */
function rangeOf(days: readonly string[]): uPlot.Range.MinMax {
  const [first, last] = [days[0] ?? 0, days.at(-1) ?? 0].map((day) => Date.parse(String(day)) / 1000);
  return [first! - DAY_S / 2, last! + DAY_S / 2];
}

/** Return the place of the series whose bar has that value of the scale, on that day; -1: none. */
function seriesAt(series: readonly Series[], day: number, value: number): number {
  let below = 0;
  return series.findIndex((each) => {
    below += each.values[day] ?? 0;
    return value < below;
  });
}

const SHORT = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", timeZone: "UTC" });
function day(seconds: number | null): string {
  return seconds === null ? "–" : SHORT.format(new Date(seconds * 1000));
}

export function Chart(props: ChartProps): JSX.Element {
  const box = useRef<HTMLDivElement>(null);
  const chosen = theme.value; // drawn again in the colours of another theme
  useEffect(() => {
    const element = box.current;
    if (!element) return undefined;
    const x = props.days.map((each) => Date.parse(each) / 1000);
    const columns = props.stacked ? stacked(props.series).reverse() : props.series.map((each) => each.values);
    let plot: uPlot | null = null;
    const draw = () => {
      plot?.destroy();
      plot = new uPlot(options(props, element, element.clientWidth), [x, ...columns], element);
      plot.over.addEventListener("click", () => {
        const at = plot?.cursor.idx;
        if (!plot || at === null || at === undefined) return;
        const value = plot.posToVal(plot.cursor.top ?? 0, "y");
        props.onPoint(at, props.stacked ? seriesAt(props.series, at, value) : -1);
      });
    };
    draw();
    const dark = window.matchMedia("(prefers-color-scheme: dark)");
    dark.addEventListener("change", draw);
    const watching = new ResizeObserver(() => plot?.setSize({ width: element.clientWidth, height: HEIGHT }));
    watching.observe(element);
    return () => {
      dark.removeEventListener("change", draw);
      watching.disconnect();
      plot?.destroy();
    };
  }, [chosen, JSON.stringify([props.days, props.series, props.stacked])]);
  return <div class="quality-chart" ref={box} role="img" aria-label={props.title} />;
}
