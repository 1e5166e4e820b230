/** How well calls went: figures, curves by day, a table by agent; each leads to its calls. */
import type { ComponentChildren, JSX } from "preact";
import { useState } from "preact/hooks";
import { get } from "../../api";
import { count, duration, millis, percent, plural, words } from "../../format";
import { navigate, place, setQuery } from "../../router";
import { Button, Empty, ErrorBox, Loading, Panel, Select, Table, useLoad } from "../../ui";
import type { Column } from "../../ui/table";
import { Chart, type Series } from "./chart";
import {
  callsLink,
  DAY_MS,
  dayOf,
  daysBetween,
  type Figures,
  type Group,
  MEANINGS,
  money,
  onDay,
  type Quality,
  type Stage,
  STAGES,
  type Which,
} from "./figures";
import "./quality.css";

const PERIODS = [
  ["7", "7 days"],
  ["30", "30 days"],
  ["90", "90 days"],
  ["365", "A year"],
] as const;

const ENDINGS_SHOWN = 5;
const COLORS = ["--agent", "--caller", "--function", "--operator", "--fault"];

export default function QualityView(): JSX.Element {
  const query = place.value.query;
  const days = PERIODS.find(([value]) => value === query.get("days"))?.[0] ?? "30";
  const agent = query.get("agent");
  const since = dayOf(Date.now() - (Number(days) - 1) * DAY_MS);
  const byDay = useLoad(`day ${since} ${agent}`, (signal) =>
    get<Quality>("/quality", { by: "day", since, agent }, signal),
  );
  const byAgent = useLoad(`agent ${since}`, (signal) =>
    get<Quality>("/quality", { by: "agent", since }, signal),
  );
  const names = new Set(byAgent.data?.groups.map((group) => group.key));
  if (agent) names.add(agent);
  const problem = byDay.problem ?? byAgent.problem;
  return (
    <>
      <header class="view-head">
        <h1>Quality</h1>
        <div class="quality-filters">
          <Select label="Period" value={days} options={PERIODS} onValue={(value) => setQuery({ days: value })} />
          <Select
            label="Agent"
            value={agent ?? ""}
            options={[["", "All agents"], ...[...names].sort().map((name) => [name, name] as const)]}
            onValue={(value) => setQuery({ agent: value })}
          />
        </div>
      </header>
      {problem && (
        <ErrorBox
          problem={problem}
          again={() => {
            byDay.again();
            byAgent.again();
          }}
        />
      )}
      {!byDay.data || !byAgent.data ? (
        !problem && <Loading what="Adding up" />
      ) : (
        <Shown byDay={byDay.data} byAgent={byAgent.data} since={since} agent={agent} />
      )}
    </>
  );
}

interface ShownProps {
  byDay: Quality;
  byAgent: Quality;
  since: string;
  agent: string | null;
}

function Shown({ byDay, byAgent, since, agent }: ShownProps): JSX.Element {
  const which: Which = { agent, since: `${since}T00:00Z` };
  if (byDay.total.calls === 0) {
    return (
      <Empty title="No calls in this period">
        <p>{agent ? `The agent ${agent} had none.` : "As soon as there is one, its figures are here."}</p>
        <a href="/phone">Make a call from the browser</a>
      </Empty>
    );
  }
  return (
    <div class="stack">
      <Overview figures={byDay.total} currency={byDay.currency} which={which} />
      <Latency byDay={byDay} since={since} agent={agent} />
      <Endings byDay={byDay} since={since} which={which} />
      {!agent && (
        <Panel title="By agent">
          <GroupTable
            caption="Figures by agent"
            name="Agent"
            groups={byAgent.groups}
            currency={byAgent.currency}
            which={(name) => ({ ...which, agent: name })}
          />
        </Panel>
      )}
      <Days byDay={byDay} agent={agent} />
    </div>
  );
}

const DAYS_SHOWN = 7;

function Days({ byDay, agent }: { byDay: Quality; agent: string | null }): JSX.Element {
  const [all, setAll] = useState(false);
  const days = [...byDay.groups].reverse();
  return (
    <Panel title="By day">
      <div class="stack tight">
        <p class="muted small">Days are those of UTC. A day without calls has no line.</p>
        <GroupTable
          caption="Figures by day"
          name="Day"
          groups={all ? days : days.slice(0, DAYS_SHOWN)}
          currency={byDay.currency}
          which={(day) => ({ agent, ...onDay(day) })}
        />
        {!all && days.length > DAYS_SHOWN && (
          <p>
            <Button small onClick={() => setAll(true)}>Show all {count(days.length)} days</Button>
          </p>
        )}
      </div>
    </Panel>
  );
}

interface FigureProps {
  name: string;
  value: ComponentChildren;
  /** Calls that it is made of, and the link to them; without one the value has its own. */
  calls?: number;
  link?: string;
  children: ComponentChildren;
}

function Figure({ name, value, calls = 0, link, children }: FigureProps): JSX.Element {
  return (
    <div>
      <dt>{name}</dt>
      <dd class="value">{value}</dd>
      <dd class="meaning">
        {link && calls > 0 && (
          <>
            <a href={link}>Of {plural(calls, "call")}</a>.{" "}
          </>
        )}
        {children}
      </dd>
    </div>
  );
}

function ms(value: number | null): string {
  return value === null ? "–" : millis(value);
}

function share(ratio: number | null): string {
  return ratio === null ? "–" : percent(ratio);
}

function Overview(props: { figures: Figures; currency: string; which: Which }): JSX.Element {
  const { figures, currency, which } = props;
  const played = figures.latency.first_played_ms;
  const of = (figure: string) => ({ calls: figures.calls_of[figure] ?? 0, link: callsLink({ ...which, figure }) });
  return (
    <Panel>
      <dl class="quality-figures">
        <Figure name="Calls" value={<a href={callsLink(which)}>{count(figures.calls)}</a>}>
          {figures.live > 0 ? (
            <>
              <a href={callsLink({ ...which, live: "true" })}>{count(figures.live)} of them live</a>: all other
              figures are of calls that have ended.
            </>
          ) : (
            `Together ${duration(figures.duration_ms)}.`
          )}
        </Figure>
        <Figure name="Answer heard after" value={ms(played.p50_ms)} {...of("first_played_ms")}>
          Half of {count(played.turns)} turns were answered faster; one in ten took longer than{" "}
          {ms(played.p90_ms)}.
        </Figure>
        <Figure name="Barge-ins" value={count(figures.barge_ins)} {...of("barge_ins")}>
          Times the caller cut the agent off.
        </Figure>
        <Figure name="False barge-ins" value={count(figures.false_barge_ins)} {...of("false_barge_ins")}>
          Barge-ins that no words of the caller followed.
        </Figure>
        <Figure name="Sounds held back" value={count(figures.suppressed)} {...of("suppressed")}>
          Sounds taken for speech that did not cut the agent: echo, too short, or during a protected greeting.
        </Figure>
        <Figure name="Heard" value={share(figures.heard_ratio)} {...of("heard_ratio")}>
          The part of the agent's words, in characters, that was played before the caller cut it off or hung up.
        </Figure>
        <Figure name="Silence" value={share(figures.silence_ratio)} {...of("silence_ratio")}>
          The part of the time on the line in which neither side spoke. A turn ends when it is confirmed.
        </Figure>
        <Figure name="Refused calls" value={count(figures.refused_calls)} {...of("refused_calls")}>
          Calls that got no agent: by the rules of inbound, or because the server was at capacity.
        </Figure>
        <Figure name="Refused dials and texts" value={count(figures.refused_dials)} {...of("refused_dials")}>
          Numbers that an agent wanted to ring or text, and may not.
        </Figure>
        <Figure name="Cost" value={money(figures.cost_micros, currency)} {...of("cost_micros")}>
          {figures.cost_micros === null
            ? "No prices are set: records.prices in offhook.yaml."
            : figures.without_cost > 0
              ? `By the configured prices. ${count(figures.without_cost)} calls have no cost yet.`
              : "By the configured prices, not the vendors' invoices."}
        </Figure>
      </dl>
    </Panel>
  );
}

function byKey(groups: readonly Group[]): Map<string, Figures> {
  return new Map(groups.map((group) => [group.key, group.figures]));
}

function daysOf(byDay: Quality, since: string): string[] {
  // Days before the first call say nothing.
  const first = byDay.groups[0]?.key ?? since;
  return daysBetween(first, dayOf(Date.now()));
}

function Latency({ byDay, since, agent }: { byDay: Quality; since: string; agent: string | null }): JSX.Element {
  const wanted = place.value.query.get("stage");
  const stage: Stage = STAGES.find(([value]) => value === wanted)?.[0] ?? "first_played_ms";
  const days = daysOf(byDay, since);
  const figures = byKey(byDay.groups);
  const values = (name: "p50_ms" | "p90_ms" | "p99_ms") =>
    days.map((day) => figures.get(day)?.latency[stage][name] ?? null);
  const series: Series[] = [
    { name: "p50", color: "--agent", values: values("p50_ms") },
    { name: "p90", color: "--caller", values: values("p90_ms"), dash: [8, 4] },
    { name: "p99", color: "--operator", values: values("p99_ms"), dash: [2, 4] },
  ];
  const total = byDay.total.latency[stage];
  return (
    <Panel title="Latency of a turn">
      <div class="stack">
        <div class="quality-stage">
          <Select
            label="Stage"
            value={stage}
            options={STAGES}
            onValue={(value) => setQuery({ stage: value })}
          />
        </div>
        <p class="muted small">{MEANINGS[stage]}</p>
        {total.turns === 0 ? (
          <p class="muted">No turn in this period has this figure.</p>
        ) : (
          <>
            <p class="num">
              p50 {ms(total.p50_ms)} · p90 {ms(total.p90_ms)} · p99 {ms(total.p99_ms)} of{" "}
              {count(total.turns)} turns of{" "}
              <a href={callsLink({ agent, since: `${since}T00:00Z`, figure: stage })}>
                {plural(byDay.total.calls_of[stage] ?? 0, "call")}
              </a>
              . <span class="muted">Half of the turns took p50 at most, 90 % p90, 99 % p99. Click on a point for
              its calls.</span>
            </p>
            <Chart
              title={`Latency by day: p50 ${ms(total.p50_ms)}, p90 ${ms(total.p90_ms)}, p99 ${ms(total.p99_ms)} over all. The table by day has the numbers.`}
              days={days}
              series={series}
              format={millis}
              onPoint={(at) => openDay(days[at], { agent, figure: stage })}
            />
          </>
        )}
      </div>
    </Panel>
  );
}

function openDay(day: string | undefined, which: Which): void {
  if (day) navigate(callsLink({ ...which, ...onDay(day) }));
}

function Endings({ byDay, since, which }: { byDay: Quality; since: string; which: Which }): JSX.Element {
  const days = daysOf(byDay, since);
  const figures = byKey(byDay.groups);
  const endings = Object.entries(byDay.total.endings);
  const ended = endings.reduce((sum, [, number]) => sum + number, 0);
  const shown = endings.slice(0, ENDINGS_SHOWN).map(([slug]) => slug);
  const series: Series[] = shown.map((slug, at) => ({
    name: words(slug),
    color: COLORS[at] ?? "--muted",
    values: days.map((day) => figures.get(day)?.endings[slug] ?? 0),
  }));
  if (endings.length > ENDINGS_SHOWN) {
    const others = days.map((day) =>
      Object.entries(figures.get(day)?.endings ?? {}).reduce(
        (sum, [slug, number]) => sum + (shown.includes(slug) ? 0 : number),
        0,
      ),
    );
    series.push({ name: "others", color: "--muted", values: others });
  }
  return (
    <Panel title="How calls ended">
      <div class="stack">
        <p class="muted small">Each call that is over has exactly one ending. Click on a bar for its calls.</p>
        <Chart
          title={`Calls by day and ending, ${count(ended)} in all. The tables have the numbers.`}
          days={days}
          series={series}
          stacked
          format={(value) => (Number.isInteger(value) ? count(value) : "")}
          onPoint={(at, series) => openDay(days[at], { agent: which.agent ?? null, slug: shown[series] ?? null })}
        />
        <Table
          caption="Endings"
          rows={endings}
          keyOf={([slug]) => slug}
          columns={[
            { name: "Ending", cell: ([slug]) => <a href={callsLink({ ...which, slug })}>{words(slug)}</a> },
            { name: "Calls", cell: ([, number]) => count(number), right: true },
            { name: "Share", cell: ([, number]) => share(number / ended), right: true },
          ]}
        />
      </div>
    </Panel>
  );
}

function GroupTable(props: {
  caption: string;
  name: string;
  groups: readonly Group[];
  currency: string;
  /** Which calls a group is made of. */
  which: (key: string) => Which;
}): JSX.Element {
  /** A column whose cells lead to the calls that they are made of. */
  const figure = (
    name: string,
    of: string | null,
    cell: (figures: Figures) => ComponentChildren,
  ): Column<Group> => ({
    name,
    cell: ({ key, figures }) => {
      const isMade = of === null ? figures.calls > 0 : (figures.calls_of[of] ?? 0) > 0;
      if (!isMade) return cell(figures);
      return <a class="nowrap" href={callsLink({ ...props.which(key), figure: of })}>{cell(figures)}</a>;
    },
    right: true,
  });
  const three = (stage: Stage) => (figures: Figures) => {
    const found = figures.latency[stage];
    return found.turns
      ? [found.p50_ms, found.p90_ms, found.p99_ms].map((value) => (value === null ? "–" : count(value))).join(" / ")
      : "–";
  };
  return (
    <Table
      caption={props.caption}
      rows={props.groups}
      keyOf={(group) => group.key}
      columns={[
        { name: props.name, cell: ({ key }) => <a class="nowrap" href={callsLink(props.which(key))}>{key}</a> },
        figure("Calls", null, (f) => count(f.calls)),
        figure("Played p50 / 90 / 99 ms", "first_played_ms", three("first_played_ms")),
        figure("Total p50 / 90 / 99 ms", "total_ms", three("total_ms")),
        figure("Barge-ins", "barge_ins", (f) => count(f.barge_ins)),
        figure("False", "false_barge_ins", (f) => count(f.false_barge_ins)),
        figure("Heard", "heard_ratio", (f) => share(f.heard_ratio)),
        figure("Silence", "silence_ratio", (f) => share(f.silence_ratio)),
        figure("Refused", "refused_calls", (f) => count(f.refused_calls)),
        figure("Cost", "cost_micros", (f) => money(f.cost_micros, props.currency)),
      ]}
    />
  );
}
