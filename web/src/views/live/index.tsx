/** Every live call, those with trouble first. */
import type { JSX } from "preact";
import { useRef } from "preact/hooks";
import { pace } from "../../conversation/latency";
import { millis, plural } from "../../format";
import { calls, connection, type LiveCall, silent, sorted } from "../../live";
import { place, setQuery } from "../../router";
import { Badge, Duration, Empty, Icon, Loading, TextField, useShortcut } from "../../ui";
import "./live.css";

/** From this many calls on, a field to search in them is shown. */
const SEARCHED_FROM = 8;

export default function LiveView(): JSX.Element {
  const list = useRef<HTMLUListElement>(null);
  const wanted = place.value.query.get("q") ?? "";
  const shown = sorted.value.filter((call) => matches(call, wanted));
  const all = calls.value.size;
  useShortcut("j", "Next call", () => move(list.current, 1));
  useShortcut("k", "Previous call", () => move(list.current, -1));
  return (
    <>
      <header class="view-head">
        <h1>Live</h1>
        <Summary />
        {silent.value.length > 0 && (
          <p role="status">
            <Badge tone="fault">
              <Icon name="warn" /> Nothing is heard of {plural(silent.value.length, "node")}:{" "}
              {silent.value.join(", ")}
            </Badge>
          </p>
        )}
        {(all >= SEARCHED_FROM || wanted) && (
          <div class="live-search">
            <TextField
              label="Search"
              value={wanted}
              onValue={(q) => setQuery({ q })}
              input={{ type: "search", placeholder: "Number, agent or words" }}
            />
          </div>
        )}
      </header>
      {connection.value.kind === "connecting" && all === 0 ? (
        <Loading what="Looking for live calls" />
      ) : all === 0 ? (
        <NoCalls />
      ) : shown.length === 0 ? (
        <Empty title="No live call matches">
          <a href="/live">Show all {all}</a>
        </Empty>
      ) : (
        <ul class="live-list" ref={list}>
          {shown.map((call) => (
            <Row key={call.call_sid} call={call} />
          ))}
        </ul>
      )}
    </>
  );
}

function Summary(): JSX.Element | null {
  const all = sorted.value;
  if (all.length === 0) return null;
  const troubled = all.filter((call) => call.trouble !== null).length;
  const taken = all.filter((call) => call.taken_by !== null).length;
  return (
    <p class="row" role="status">
      <span>{plural(all.length, "call")}</span>
      {troubled > 0 && <Badge tone="fault">{troubled} with trouble</Badge>}
      {taken > 0 && <Badge tone="operator">{taken} taken over</Badge>}
    </p>
  );
}

function NoCalls(): JSX.Element {
  return (
    <Empty title="No call is live">
      <p>A call is shown here from its first ring on.</p>
      <p class="row">
        <a class="button primary" href="/phone">
          <Icon name="phone" /> Talk to an agent
        </a>
        <a class="button" href="/calls">See past calls</a>
      </p>
    </Empty>
  );
}

function Row({ call }: { call: LiveCall }): JSX.Element {
  const words = call.last_words;
  return (
    <li class={`live-row ${call.trouble ? "troubled" : ""}`}>
      <a href={`/live/${encodeURIComponent(call.call_sid)}`}>
        <span class="live-who">
          <strong>{otherParty(call)}</strong>
          <span class="muted small">
            {call.direction === "outbound" ? "called by" : "with"} {call.agent}
          </span>
        </span>
        <Speaking call={call} />
        <span class="live-words">
          {words ? (
            <>
              <span class={`live-said ${words.who}`}>{words.who === "caller" ? "Caller" : "Agent"}: </span>
              {words.text}
            </>
          ) : (
            <span class="muted">Nothing was said yet</span>
          )}
        </span>
        <span class="live-badges">
          {call.trouble && (
            <Badge tone="fault">
              <Icon name="warn" /> {call.trouble}
            </Badge>
          )}
          {call.taken_by && <Badge tone="operator">{call.taken_by} speaks</Badge>}
          {call.listeners.length > 0 && <Badge>{call.listeners.join(", ")} listening</Badge>}
          {call.by === "browser" && <Badge>from the browser</Badge>}
          <OnNode call={call} />
        </span>
        <span class={`live-turn num ${pace(call.turn_ms)}`}>
          {call.turn_ms !== null && (
            <>
              <span class="hidden-text">last turn </span>
              {millis(call.turn_ms)}
            </>
          )}
        </span>
        <span class="live-length">
          <Duration since={call.began_ms} />
        </span>
      </a>
    </li>
  );
}

/** The node that has a call, in a fleet. */
export function OnNode({ call }: { call: LiveCall }): JSX.Element | null {
  if (call.node === null) return null;
  const isSilent = silent.value.includes(call.node);
  return (
    <Badge tone={isSilent ? "fault" : "normal"}>
      node {call.node}
      {isSilent && ", away"}
    </Badge>
  );
}

/** Who speaks, as a word with a picture of sound; still where motion is not wanted. */
export function Speaking({ call }: { call: LiveCall }): JSX.Element {
  const who = call.taken_by && call.speaking !== "caller" ? "nobody" : call.speaking;
  const word = { caller: "Caller speaks", agent: "Agent speaks", nobody: stateOf(call) }[who];
  return (
    <span class={`live-speaking ${who}`}>
      <span class="live-sound" aria-hidden="true">
        <i />
        <i />
        <i />
      </span>
      {word}
    </span>
  );
}

function stateOf(call: LiveCall): string {
  if (call.caller_state === "ringing") return "Rings";
  if (call.caller_state === "transferred") return "Transferred";
  if (call.caller_state === "away") return "Caller away";
  if (call.caller_state === "lost") return "Caller lost";
  if (call.agent_state === "dialling") return "Connecting";
  return "Quiet";
}

/** Return who is on the line with us: the number that called, or was called. */
export function otherParty(call: LiveCall): string {
  const number = call.direction === "outbound" ? call.to : call.from;
  return number || "Unknown number";
}

function matches(call: LiveCall, wanted: string): boolean {
  if (!wanted) return true;
  const text = [call.from, call.to, call.agent, call.last_words?.text, call.trouble].join("\n");
  return text.toLowerCase().includes(wanted.toLowerCase());
}

/** Move the focus to another call of the list. */
function move(list: HTMLElement | null, by: number): void {
  const links = [...(list?.querySelectorAll("a") ?? [])];
  const at = links.findIndex((link) => link === document.activeElement);
  const to = at < 0 ? (by > 0 ? 0 : links.length - 1) : Math.min(links.length - 1, Math.max(0, at + by));
  links[to]?.focus();
}
