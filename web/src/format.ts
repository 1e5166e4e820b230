/** Times, lengths and numbers as the console writes them. */

/** Return a length as m:ss, or h:mm:ss from an hour on. */
export function duration(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const h = Math.floor(seconds / 3600);
  const m = Math.floor((seconds % 3600) / 60);
  const s = String(seconds % 60).padStart(2, "0");
  return h ? `${h}:${String(m).padStart(2, "0")}:${s}` : `${m}:${s}`;
}

/** Return a short time, such as a latency: 840 ms, 1.2 s. */
export function millis(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

/** Return a length in words, for screen readers: "2 minutes 5 seconds". */
export function spoken(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const parts: string[] = [];
  const add = (count: number, unit: string) => {
    if (count) parts.push(`${count} ${unit}${count === 1 ? "" : "s"}`);
  };
  add(Math.floor(seconds / 3600), "hour");
  add(Math.floor((seconds % 3600) / 60), "minute");
  add(seconds % 60, "second");
  return parts.join(" ") || "0 seconds";
}

const SAME_DAY = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const OTHER_DAY = new Intl.DateTimeFormat(undefined, {
  day: "numeric",
  month: "short",
  hour: "2-digit",
  minute: "2-digit",
});
const EXACT = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });

/** Return a moment: the time alone if it is today. */
export function moment(at: number | Date, now: number = Date.now()): string {
  const date = new Date(at);
  const today = date.toDateString() === new Date(now).toDateString();
  return (today ? SAME_DAY : OTHER_DAY).format(date);
}

/** Return a moment with everything, for a tooltip. */
export function exactMoment(at: number | Date): string {
  return EXACT.format(new Date(at));
}

const COUNT = new Intl.NumberFormat();
export function count(n: number): string {
  return COUNT.format(n);
}

/** Return a text that begins with a capital letter. */
export function sentence(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** Operations that have another name on the page than in the API (docs/control.md). */
const OPERATIONS: Record<string, string> = { tell: "whisper", prompt: "whisper" };

/** Return what somebody did in a call, in words: "ada, whisper: the agent was told". */
export function acted(by: string, operation: string, outcome: string, what: string): string {
  const done = (OPERATIONS[operation] ?? operation).replaceAll("-", " ");
  return `${by}, ${done}${outcome === "refused" ? ", refused" : ""}: ${what}`;
}

/** Return the words of an event of the record. */
export function told(event: string, fields: Record<string, unknown>, words: string): string {
  // The name of a person, which may begin with a small letter.
  if (event !== "OperatorActed") return "by" in fields ? words : sentence(words);
  const text = (name: string): string => String(fields[name] ?? "");
  return acted(text("by"), text("operation"), text("outcome"), text("what"));
}

/** Return "1 call" or "2 calls". */
export function plural(n: number, one: string, many: string = `${one}s`): string {
  return `${count(n)} ${n === 1 ? one : many}`;
}

/** Return an amount of a currency (ISO 4217); small ones with as many digits as they need. */
export function amount(value: number, currency: string): string {
  const digits = value !== 0 && Math.abs(value) < 0.1 ? 4 : 2;
  try {
    return new Intl.NumberFormat(undefined, {
      style: "currency",
      currency,
      minimumFractionDigits: digits,
      maximumFractionDigits: digits,
    }).format(value);
  } catch {
    return `${currency} ${value.toFixed(digits)}`; // not a currency that the browser knows
  }
}

export function percent(ratio: number): string {
  return `${(ratio * 100).toFixed(ratio < 0.1 ? 1 : 0)} %`;
}

/** Return a slug or an outcome as words. */
export function words(slug: string): string {
  return slug.replaceAll("_", " ").replaceAll("-", " ");
}
