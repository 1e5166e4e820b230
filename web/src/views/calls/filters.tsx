/** The filters of the list, which are the address bar's query: a link keeps them, as does reloading. */
import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useMemo } from "preact/hooks";
import { words } from "../../format";
import { navigate, place } from "../../router";
import { Button, Select, TextField } from "../../ui";

/** Names of the API's filters (GET /api/v1/calls), which the address bar has under the same names. */
export const FILTERS = [
  "since",
  "until",
  "agent",
  "number",
  "direction",
  "live",
  "slug",
  "fault",
  "text",
  "min_ms",
  "figure",
] as const;

/** Filters that are folded away while none of them is used. */
const FINE = ["slug", "fault", "live", "direction", "min_ms", "figure"] as const;

export type Filters = Partial<Record<(typeof FILTERS)[number], string>>;

export function filtersOf(query: URLSearchParams): Filters {
  const found: Filters = {};
  for (const name of FILTERS) {
    const value = query.get(name);
    if (value) found[name] = value;
  }
  return found;
}

/** Return the address of the list with these filters, at its first page. */
export function listAddress(filters: Filters): string {
  const query = new URLSearchParams(filters as Record<string, string>).toString();
  return query ? `/calls?${query}` : "/calls";
}

const AGES: readonly (readonly [string, string])[] = [
  ["", "Any time"],
  ["60m", "The last hour"],
  ["24h", "The last 24 hours"],
  ["7d", "The last 7 days"],
  ["30d", "The last 30 days"],
  ["days", "Certain days…"],
];

const STATES: readonly (readonly [string, string])[] = [
  ["", "Live and over"],
  ["true", "Live"],
  ["false", "Over"],
];

const FAULTS: readonly (readonly [string, string])[] = [
  ["", "Anybody"],
  ["nobody", "Nobody: a normal end"],
  ["caller", "The caller's side"],
  ["twilio", "Twilio"],
  ["agent", "The agent's side"],
  ["offhook", "Offhook"],
  ["operator", "An operator"],
];

const DIRECTIONS: readonly (readonly [string, string])[] = [
  ["", "Both ways"],
  ["inbound", "Inbound"],
  ["outbound", "Outbound"],
];

const LENGTHS: readonly (readonly [string, string])[] = [
  ["", "Any length"],
  ["10000", "10 s and more"],
  ["60000", "1 min and more"],
  ["300000", "5 min and more"],
  ["1800000", "30 min and more"],
];

/** Names of the figures of quality (records/figures.py), as the view Quality has them. */
const FIGURES: readonly (readonly [string, string])[] = [
  ["", "Any"],
  ["barge_ins", "Barge-ins"],
  ["false_barge_ins", "False barge-ins"],
  ["suppressed", "Sounds held back"],
  ["heard_ratio", "Heard: the agent spoke"],
  ["silence_ratio", "Silence: there was a stream"],
  ["refused_calls", "Refused calls"],
  ["refused_dials", "Refused dials and texts"],
  ["cost_micros", "Cost"],
  ["first_played_ms", "First sound played"],
  ["first_byte_ms", "First sound received"],
  ["total_ms", "Total (Deepgram)"],
  ["listen_ms", "Listen (Deepgram)"],
  ["think_ms", "Think (Deepgram)"],
  ["speak_ms", "Speak (Deepgram)"],
];

const DAY_MS = 86_400_000;

/** Milliseconds of quiet after which typed letters are looked for. */
const TYPED_MS = 350;

interface Props {
  filters: Filters;
  agents: readonly string[];
  slugs: readonly string[];
}

export function FilterBar({ filters, agents, slugs }: Props): JSX.Element {
  function set(changes: Filters): void {
    const next = { ...filters, ...changes };
    for (const name of FILTERS) if (!next[name]) delete next[name];
    navigate(listAddress(next), { replace: true });
  }
  const age = AGES.find(([value]) => value === (filters.since ?? "") && value !== "days");
  const byDays = useSignal(!age || Boolean(filters.until));
  const isSet = FILTERS.some((name) => filters[name]);
  // Decided once: what somebody has opened does not close when they choose.
  const isFine = useMemo(() => FINE.some((name) => filters[name]), []);
  return (
    <form class="calls-filters" role="search" aria-label="Calls" onSubmit={(event) => event.preventDefault()}>
      <Typed label="Said in the call" value={filters.text ?? ""} onValue={(text) => set({ text })} />
      <Typed label="Number" hint="With + and country code" value={filters.number ?? ""} onValue={(number) => set({ number: number.replaceAll(/[\s()-]/g, "") })} />
      <Select
        label="When"
        value={byDays.value ? "days" : (filters.since ?? "")}
        onValue={(since) => {
          byDays.value = since === "days";
          if (!byDays.value) set({ since, until: "" });
        }}
        options={AGES}
      />
      {byDays.value && (
        <>
          <TextField label="From the day" value={dayOf(filters.since, 0)} onValue={(day) => set({ since: startOf(day, 0) })} input={{ type: "date" }} />
          <TextField label="To the day" value={dayOf(filters.until, -1)} onValue={(day) => set({ until: startOf(day, 1) })} input={{ type: "date" }} />
        </>
      )}
      <Select label="Agent" value={filters.agent ?? ""} onValue={(agent) => set({ agent })} options={choices("Every agent", agents, filters.agent)} />
      <details class="calls-more" open={isFine}>
        <summary>More filters</summary>
        <div class="calls-filters">
          <Select label="Ending" value={filters.slug ?? ""} onValue={(slug) => set({ slug })} options={choices("Every ending", slugs, filters.slug, words)} />
          <Select label="Ended by" value={filters.fault ?? ""} onValue={(fault) => set({ fault })} options={FAULTS} />
          <Select label="State" value={filters.live ?? ""} onValue={(live) => set({ live })} options={STATES} />
          <Select label="Direction" value={filters.direction ?? ""} onValue={(direction) => set({ direction })} options={DIRECTIONS} />
          <Select label="Length" value={filters.min_ms ?? ""} onValue={(min_ms) => set({ min_ms })} options={known(LENGTHS, filters.min_ms)} />
          <Select label="Behind the figure" value={filters.figure ?? ""} onValue={(figure) => set({ figure })} options={FIGURES} />
        </div>
      </details>
      {isSet && (
        <div class="calls-clear">
          <Button
            small
            onClick={() => {
              byDays.value = false;
              navigate("/calls");
            }}
          >
            Show all calls
          </Button>
        </div>
      )}
    </form>
  );
}

/** A text that takes effect when its writer pauses: no request for each letter. */
function Typed(props: { label: string; hint?: string; value: string; onValue: (text: string) => void }): JSX.Element {
  const typed = useSignal(props.value);
  // Another address, such as that of the browser's Back, has other texts.
  useEffect(() => {
    typed.value = props.value;
  }, [props.value, place.value.path]);
  useEffect(() => {
    if (typed.value.trim() === props.value) return undefined;
    const timer = setTimeout(() => props.onValue(typed.value.trim()), TYPED_MS);
    return () => clearTimeout(timer);
  }, [typed.value]);
  return (
    <TextField
      label={props.label}
      {...(props.hint ? { hint: props.hint } : {})}
      value={typed.value}
      onValue={(text) => (typed.value = text)}
      input={{ type: "search", maxLength: 200 }}
    />
  );
}

function choices(
  all: string,
  names: readonly string[],
  chosen: string | undefined,
  named: (name: string) => string = (name) => name,
): readonly (readonly [string, string])[] {
  const every = chosen && !names.includes(chosen) ? [...names, chosen] : names;
  return [["", all], ...every.map((name) => [name, named(name)] as const)];
}

/** Return the choices, with one that the address bar has and they do not. */
function known(
  options: readonly (readonly [string, string])[],
  chosen: string | undefined,
): readonly (readonly [string, string])[] {
  if (!chosen || options.some(([value]) => value === chosen)) return options;
  return [...options, [chosen, `${Math.round(Number(chosen) / 1000)} s and more`]];
}

/** Return the day of a moment as a date field has it; "" for none, or an age such as 7d. */
function dayOf(moment: string | undefined, days: number): string {
  const ms = moment ? new Date(moment).getTime() : Number.NaN;
  if (Number.isNaN(ms)) return "";
  const date = new Date(ms + days * DAY_MS);
  const two = (n: number): string => String(n).padStart(2, "0");
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}

/** Return the moment at which a day begins here, so many days later. */
function startOf(day: string, days: number): string {
  const parts = day.split("-").map(Number);
  const [year, month, date] = parts;
  if (parts.length !== 3 || !year || !month || !date || year < 1970) return "";
  return new Date(year, month - 1, date + days).toISOString();
}
