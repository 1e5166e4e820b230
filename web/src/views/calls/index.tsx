/** The list of calls: search, filters, pages and totals. */
import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect } from "preact/hooks";
import { get } from "../../api";
import { amount, count, duration, plural, words } from "../../format";
import { onEvent } from "../../live";
import { navigate, place } from "../../router";
import { Ago, Badge, Button, Empty, ErrorBox, Loading, Stat, Stats, Table, useLoad } from "../../ui";
import type { CallSummary, Prices } from "../call/record";
import "./calls.css";
import { FilterBar, type Filters, filtersOf, listAddress } from "./filters";

interface Page {
  calls: CallSummary[];
  next_cursor: string | null;
}

interface Totals {
  calls: number;
  live: number;
  duration_ms: number;
  twilio_minutes: number;
  stream_minutes: number;
  deepgram_minutes: Record<string, number>;
  cost_micros: number | null;
  without_cost: number;
  endings: Record<string, number>;
}

const PAGE = 50;

/** Endings that are shown beside the totals; the filter has all of them. */
const ENDINGS_SHOWN = 6;

export default function CallsView(): JSX.Element {
  const query = place.value.query;
  const filters = filtersOf(query);
  const cursor = query.get("cursor") ?? "";
  const key = JSON.stringify(filters);
  const page = useLoad(`${key} ${cursor}`, (signal) =>
    get<Page>("/calls", { ...filters, cursor, limit: PAGE }, signal),
  );
  const totals = useLoad(key, (signal) => get<Totals>("/totals", { ...filters }, signal));
  const everything = useLoad("all", (signal) => get<Totals>("/totals", {}, signal));
  const agents = useLoad("agents", (signal) => get<{ key: string }[]>("/totals", { by: "agent" }, signal));
  const prices = useLoad("prices", (signal) => get<Prices>("/prices", {}, signal));
  const news = useNews(key);
  const currency = prices.data?.currency ?? "USD";

  function again(): void {
    news.value = 0;
    if (cursor) navigate(listAddress(filters));
    page.again();
    totals.again();
  }

  return (
    <>
      <header class="view-head">
        <h1>Calls</h1>
        {news.value > 0 && <Button onClick={again}>{plural(news.value, "call")} began or ended: show</Button>}
      </header>
      <div class="stack">
        <FilterBar
          filters={filters}
          agents={(agents.data ?? []).map((one) => one.key)}
          slugs={Object.keys(everything.data?.endings ?? {})}
        />
        {totals.data && <Sums totals={totals.data} currency={currency} filters={filters} />}
        {page.problem ? (
          <ErrorBox problem={page.problem} again={page.again} />
        ) : page.data ? (
          <List page={page.data} loading={page.loading} filters={filters} cursor={cursor} currency={currency} />
        ) : (
          <Loading what="Looking for calls" />
        )}
      </div>
    </>
  );
}

/** Return how many calls began or ended since the list was loaded. */
function useNews(key: string): { value: number } {
  const news = useSignal(0);
  useEffect(() => {
    news.value = 0;
    return onEvent((event) => {
      if (event.type === "CallBegan" || event.type === "CallEnded") news.value += 1;
    });
  }, [key]);
  return news;
}

function Sums(props: { totals: Totals; currency: string; filters: Filters }): JSX.Element {
  const { totals, currency, filters } = props;
  const deepgram = Object.values(totals.deepgram_minutes).reduce((sum, minutes) => sum + minutes, 0);
  const endings = Object.entries(totals.endings);
  return (
    <section class="calls-totals" aria-label="Totals">
      <Stats>
        <Stat name="Calls">{count(totals.calls)}</Stat>
        {totals.live > 0 && <Stat name="Live">{count(totals.live)}</Stat>}
        <Stat name="Length"><span class="num">{duration(totals.duration_ms)}</span></Stat>
        <Stat name="Twilio">{count(totals.twilio_minutes)} min</Stat>
        <Stat name="Streams">{count(totals.stream_minutes)} min</Stat>
        <Stat name="Deepgram">{count(Math.round(deepgram * 10) / 10)} min</Stat>
        {totals.cost_micros !== null && (
          <Stat name={totals.without_cost > totals.live ? `Cost, without ${plural(totals.without_cost, "call")}` : "Cost"}>
            {amount(totals.cost_micros / 1e6, currency)}
          </Stat>
        )}
      </Stats>
      {endings.length > 1 && (
        <ul class="row" aria-label="Endings">
          {endings.slice(0, ENDINGS_SHOWN).map(([slug, calls]) => (
            <li key={slug}>
              <a class="badge" href={listAddress({ ...filters, slug })}>
                {words(slug)} <span class="num">{count(calls)}</span>
              </a>
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}

interface ListProps {
  page: Page;
  loading: boolean;
  filters: Filters;
  cursor: string;
  currency: string;
}

function List({ page, loading, filters, cursor, currency }: ListProps): JSX.Element {
  const next = page.next_cursor;
  const pages = (
    <nav class="row" aria-label="Pages">
      {cursor && <a class="button" href={listAddress(filters)}>Newest</a>}
      {next !== null && <a class="button" href={withCursor(filters, next)}>Older</a>}
    </nav>
  );
  if (page.calls.length === 0) {
    if (next !== null) {
      return (
        <Empty title="None among the calls that were looked through">
          <p>A text is looked for in some hundred calls at a time.</p>
          {pages}
        </Empty>
      );
    }
    if (cursor || Object.keys(filters).length > 0) {
      return (
        <Empty title={cursor ? "There are no older calls" : "No call matches"}>
          <a class="button" href={cursor ? listAddress(filters) : "/calls"}>{cursor ? "See the newest" : "Show all calls"}</a>
        </Empty>
      );
    }
    return (
      <Empty title="There are no calls yet">
        <p>Every call is here from its first moment. Make one from this browser:</p>
        <a class="button primary" href="/phone">Talk to an agent</a>
      </Empty>
    );
  }
  return (
    <div class={`stack calls-list ${loading ? "calls-loading" : ""}`} aria-busy={loading}>
      <Table
        caption="Calls, newest first"
        rows={page.calls}
        keyOf={(call) => call.sid}
        columns={[
          { name: "Began", cell: (call) => <a class="calls-link" href={call.live ? `/live/${encodeURIComponent(call.sid)}` : `/calls/${encodeURIComponent(call.sid)}`}><Ago at={call.started_ms} /></a> },
          { name: "Who", cell: (call) => <Who call={call} /> },
          { name: "Agent", cell: (call) => call.agent },
          { name: "Length", right: true, cell: (call) => (call.duration_ms === null ? <Badge tone="good">live</Badge> : duration(call.duration_ms)) },
          { name: "Ending", cell: (call) => <Ending call={call} /> },
          { name: "What happened", cell: (call) => <Happened call={call} /> },
          { name: "Cost", right: true, cell: (call) => (call.cost_micros === null ? "" : amount(call.cost_micros / 1e6, currency)) },
        ]}
      />
      {pages}
    </div>
  );
}

function withCursor(filters: Filters, cursor: string): string {
  return `/calls?${new URLSearchParams({ ...(filters as Record<string, string>), cursor }).toString()}`;
}

function Who({ call }: { call: CallSummary }): JSX.Element {
  const out = call.direction === "outbound";
  const other = out ? call.to_number : call.from_number;
  return (
    <>
      <span class="num">{out ? "to" : "from"} {other || "unknown"}</span>
      {call.came_by === "browser" && <> <Badge tone="operator">browser</Badge></>}
      <div class="muted small num">{out ? call.from_number : call.to_number}</div>
    </>
  );
}

function Ending({ call }: { call: CallSummary }): JSX.Element {
  if (call.live) return <span class="muted">not yet</span>;
  const normal = call.fault === null || call.fault === "nobody";
  return (
    <>
      {!normal && <><Badge tone="fault">{call.fault}</Badge> </>}
      {call.words ?? call.slug ?? "unknown"}
    </>
  );
}

function Happened({ call }: { call: CallSummary }): JSX.Element {
  const parts = [
    plural(call.turns, "turn"),
    call.interruptions > 0 && plural(call.interruptions, "barge-in"),
    call.functions > 0 && plural(call.functions, "function"),
    call.recording && "recorded",
  ].filter(Boolean);
  return (
    <>
      {parts.join(", ")}
      {call.troubles > 0 && <> <Badge tone="fault">{plural(call.troubles, "trouble")}</Badge></>}
    </>
  );
}
