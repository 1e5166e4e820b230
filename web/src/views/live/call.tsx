/** One live call: what is said as it is said, and all that can be done to it. */
import type { JSX } from "preact";
import { useEffect, useMemo, useRef } from "preact/hooks";
import { type Followed, followConversation, LatencyStrip, Transcript } from "../../conversation";
import { plural } from "../../format";
import { calls, connection, type LiveCall } from "../../live";
import { navigate } from "../../router";
import type { ViewProps } from "../../shell";
import { Ago, Badge, Duration, Empty, ErrorBox, Facts, Icon, Loading, Panel, useShortcut } from "../../ui";
import { Controls } from "./controls";
import { OnNode, otherParty, Speaking } from "./index";
import { Sockets } from "./sockets";
import "./call.css";

export default function LiveCallView({ param: callSid }: ViewProps): JSX.Element {
  useShortcut("u", "All live calls", () => navigate("/live"));
  const now = calls.value.get(callSid);
  const last = useRef<LiveCall | null>(null);
  if (now) last.current = now;
  const followed = useMemo(() => followConversation(callSid), [callSid]);
  useEffect(() => followed.stop, [followed]);
  const call = now ?? last.current;
  if (!call) {
    return connection.value.kind === "connecting" ? <Loading what="Looking for the call" /> : <NotLive callSid={callSid} />;
  }
  return (
    <>
      <Head call={call} isLive={now !== undefined} />
      <div class="call-live">
        <div class="call-side">
          {now ? <Controls call={now} /> : <Over call={call} followed={followed} />}
        </div>
        <Panel class="call-talk">
          <Talk followed={followed} />
        </Panel>
        <div class="call-facts">
          <Panel title="Latency">
            <LatencyStrip turns={followed.talk.value.turns} />
          </Panel>
          <Sockets call={call} isLive={now !== undefined} />
          <About call={call} />
        </div>
      </div>
    </>
  );
}

function NotLive({ callSid }: { callSid: string }): JSX.Element {
  return (
    <Empty title="This call is not live">
      <p>It has ended, or there is none with the CallSid {callSid}.</p>
      <p class="row">
        <a class="button primary" href={`/calls/${encodeURIComponent(callSid)}`}>See its record</a>
        <a class="button" href="/live">All live calls</a>
      </p>
    </Empty>
  );
}

function Head({ call, isLive }: { call: LiveCall; isLive: boolean }): JSX.Element {
  return (
    <header class="view-head">
      <a class="button quiet" href="/live" aria-label="All live calls">
        <Icon name="back" />
      </a>
      <div>
        <h1>{otherParty(call)}</h1>
        <p class="muted small">
          {call.direction === "outbound" ? "called by" : "with"} {call.agent}
        </p>
      </div>
      <div class="row">
        {isLive ? (
          <>
            <Speaking call={call} />
            <strong class="call-length"><Duration since={call.began_ms} /></strong>
          </>
        ) : (
          <Badge>over</Badge>
        )}
        {isLive && call.trouble && (
          <Badge tone="fault"><Icon name="warn" /> {call.trouble}</Badge>
        )}
        {isLive && <OnNode call={call} />}
        {isLive && call.taken_by && <Badge tone="operator">{call.taken_by} speaks with the caller</Badge>}
        {isLive && call.listeners.length > 0 && <Badge>{call.listeners.join(", ")} listening</Badge>}
      </div>
    </header>
  );
}

function Talk({ followed }: { followed: Followed }): JSX.Element {
  const { talk, problem, loading } = followed;
  return (
    <>
      {problem.value && (
        <div class="call-problem">
          <ErrorBox problem={problem.value} again={followed.again} againLabel="Load what was said before" />
        </div>
      )}
      <Transcript
        lines={talk.value.lines}
        empty={loading.value ? "Loading what was said…" : "Nothing was said yet."}
      />
    </>
  );
}

function Over({ call, followed }: { call: LiveCall; followed: Followed }): JSX.Element {
  const end = followed.talk.value.ending;
  return (
    <Panel title="This call is over">
      <div class="stack">
        <p role="status">{end ? `${end.charAt(0).toUpperCase()}${end.slice(1)}.` : "It has ended."}</p>
        <a class="button primary" href={`/calls/${encodeURIComponent(call.call_sid)}`}>See its record</a>
      </div>
    </Panel>
  );
}

function About({ call }: { call: LiveCall }): JSX.Element {
  return (
    <Panel title="About the call">
      <Facts
        facts={[
          ["From", call.from || "not given"],
          ["To", call.to || "not given"],
          ["Began", <Ago at={call.began_ms} />],
          ["Came by", { webhook: "Twilio's webhook", bin: "a TwiML Bin", api: "the API", browser: "the browser" }[call.by] ?? call.by],
          ["So far", [plural(call.turns, "turn"), plural(call.interruptions, "barge-in"), plural(call.functions, "function")].join(", ")],
          ["CallSid", <span class="mono">{call.call_sid}</span>],
        ]}
      />
    </Panel>
  );
}
