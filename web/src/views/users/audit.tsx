/** The audit log: every request by a person that was to change something. */
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { get, type Problem, problemOf } from "../../api";
import { ActionButton, Ago, Badge, Empty, ErrorBox, Loading, Table } from "../../ui";

interface Entry {
  id: number;
  at_ms: number;
  who: string;
  what: string;
  about: string;
  status: number;
  outcome: string;
}

interface Page {
  entries: Entry[];
  before: number | null;
}

export function AuditLog(): JSX.Element {
  const [entries, setEntries] = useState<readonly Entry[] | null>(null);
  const [before, setBefore] = useState<number | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);

  async function load(from: number | null): Promise<void> {
    const page = await get<Page>("/audit", { before: from });
    setEntries((known) => [...(from === null ? [] : (known ?? [])), ...page.entries]);
    setBefore(page.before);
  }
  function begin(): void {
    setProblem(null);
    load(null).catch((error: unknown) => setProblem(problemOf(error)));
  }
  useEffect(begin, []);

  if (problem) return <ErrorBox problem={problem} again={begin} />;
  if (entries === null) return <Loading what="Loading the audit log" />;
  if (entries.length === 0) return <Empty title="Nobody has changed anything yet" />;
  return (
    <div class="panel stack">
      <Table
        caption="Audit log, newest first"
        rows={entries}
        keyOf={(entry) => String(entry.id)}
        columns={[
          { name: "When", cell: (entry) => <Ago at={entry.at_ms} /> },
          { name: "Who", cell: (entry) => entry.who || <span class="muted">nobody signed in</span> },
          { name: "What", cell: (entry) => <code>{entry.what}</code> },
          { name: "About", cell: (entry) => <About about={entry.about} /> },
          {
            name: "Outcome",
            cell: (entry) => (
              <Badge tone={entry.outcome === "done" ? "good" : "fault"}>
                {entry.outcome}
                {entry.outcome !== "done" && ` (${entry.status})`}
              </Badge>
            ),
          },
        ]}
      />
      {before !== null && (
        <div class="row">
          <ActionButton act={() => load(before)}>Earlier entries</ActionButton>
        </div>
      )}
    </div>
  );
}

function About({ about }: { about: string }): JSX.Element {
  if (!/^CA[0-9a-f]{32}$/.test(about)) return <>{about}</>;
  return <a class="mono" href={`/calls/${about}`}>{about}</a>;
}
