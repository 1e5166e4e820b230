import { signal } from "@preact/signals";
import type { JSX } from "preact";
import { duration, exactMoment, moment, spoken } from "../format";

/** The time in ms since 1970; changes once a second while the page is seen. */
export const now = signal(Date.now());

function tick(): void {
  if (!document.hidden) now.value = Date.now();
}
setInterval(tick, 1000);
document.addEventListener("visibilitychange", tick);

/** A length. With `since` it is the time from then to now, and grows. */
export function Duration(props: { ms: number } | { since: number }): JSX.Element {
  const ms = "ms" in props ? props.ms : now.value - props.since;
  return (
    <span class="num" title={spoken(ms)}>{duration(ms)}</span>
  );
}

/** A moment: "just now", "4 min ago", then the time and date. The tooltip has all of it. */
export function Ago({ at }: { at: number | string }): JSX.Element {
  const date = new Date(at);
  const seconds = (now.value - date.getTime()) / 1000;
  const text =
    seconds < 60 && seconds > -5
      ? "just now"
      : seconds < 3600 && seconds > 0
        ? `${Math.floor(seconds / 60)} min ago`
        : moment(date, now.value);
  return (
    <time class="nowrap" dateTime={date.toISOString()} title={exactMoment(date)}>{text}</time>
  );
}

