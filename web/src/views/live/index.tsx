import type { JSX } from "preact";
import { sorted } from "../../live";
import { Badge, Duration, Empty, Table } from "../../ui";

export default function LiveView(): JSX.Element {
  const calls = sorted.value;
  return (
    <>
      <header class="view-head">
        <h1>Live</h1>
      </header>
      {calls.length === 0 ? (
        <Empty title="No call is live" />
      ) : (
        <Table
          caption="Live calls"
          rows={calls}
          keyOf={(call) => call.call_sid}
          columns={[
            { name: "Call", cell: (call) => <a href={`/live/${call.call_sid}`}>{call.from || "unknown"}</a> },
            { name: "Agent", cell: (call) => call.agent },
            { name: "Length", cell: (call) => <Duration since={call.began_ms} />, right: true },
            { name: "Trouble", cell: (call) => call.trouble && <Badge tone="fault">{call.trouble}</Badge> },
          ]}
        />
      )}
    </>
  );
}
