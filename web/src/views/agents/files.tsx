/** Check and reload of the files of all agents, and what was found in them. */
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { type Problem, post, problemOf } from "../../api";
import { plural } from "../../format";
import { may } from "../../session";
import { ActionButton, Badge, ErrorBox, Panel } from "../../ui";
import type { Checked, Finding, Reloaded } from "./agents";

/** Text as it is, which scrolls by itself: by keyboard, too. */
export function Code({ label, text }: { label: string; text: string }): JSX.Element {
  return (
    <pre class="agents-file" role="region" aria-label={label} tabIndex={0}>{text}</pre>
  );
}

export function Findings({ findings }: { findings: readonly Finding[] }): JSX.Element {
  return (
    <ul class="agents-findings">
      {findings.map((finding, at) => (
        <li key={at}>
          <p>
            <Badge tone={finding.level === "error" ? "fault" : "normal"}>{finding.level}</Badge>{" "}
            {finding.text}
          </p>
          <p class="muted small">{finding.fix}</p>
          {finding.file && (
            <p class="muted small mono">
              {finding.file}
              {finding.line !== null && `:${finding.line}:${finding.column}`}
            </p>
          )}
        </li>
      ))}
    </ul>
  );
}

type Shown =
  | { kind: "nothing" }
  | { kind: "checked"; checked: Checked }
  | { kind: "reloaded"; report: Reloaded }
  | { kind: "refused"; problem: Problem };

/** Buttons for check and reload, and the answer below them. `onReload` is called after a reload. */
export function FileActions({ onReload }: { onReload: () => void }): JSX.Element {
  const [shown, setShown] = useState<Shown>({ kind: "nothing" });
  // A mistake in a file is the answer here, and belongs on the page, not into a corner.
  async function check(): Promise<void> {
    try {
      setShown({ kind: "checked", checked: await post<Checked>("/agents/check") });
    } catch (error) {
      setShown({ kind: "refused", problem: problemOf(error) });
    }
  }
  async function reload(): Promise<void> {
    try {
      setShown({ kind: "reloaded", report: await post<Reloaded>("/agents/reload") });
      onReload();
    } catch (error) {
      setShown({ kind: "refused", problem: problemOf(error) });
    }
  }
  return (
    <div class="stack tight">
      <div class="row">
        <ActionButton act={check} disabled={!may("operator") && "Your role is viewer: it only looks."}>
          Check the files
        </ActionButton>
        <ActionButton act={reload} disabled={!may("admin") && "Only an admin reloads the agents."}>
          Reload
        </ActionButton>
        <span class="muted small">
          Check says what <code>offhook check</code> finds in the files now. Reload has new calls use them;
          live calls keep their agents.
        </span>
      </div>
      <div aria-live="polite">
        <Answer shown={shown} />
      </div>
    </div>
  );
}

function Answer({ shown }: { shown: Shown }): JSX.Element | null {
  switch (shown.kind) {
    case "nothing":
      return null;
    case "refused":
      return <ErrorBox problem={shown.problem} />;
    case "checked": {
      const { errors, findings } = shown.checked;
      const remarks = findings.length - errors;
      const title = `The files as they are now: ${errors === 0 ? "good" : plural(errors, "error")}, ${plural(remarks, "remark")}`;
      return (
        <Panel title={title}>
          <Findings findings={findings} />
        </Panel>
      );
    }
    case "reloaded": {
      const { agents, lines, restart } = shown.report;
      return (
        <Panel title="Reloaded">
          <p>
            New calls have {plural(agents.length, "agent")} on {plural(lines, "line")}: {agents.join(", ")}.
          </p>
          {restart.length > 0 && <p>Only a restart applies: {restart.join(", ")}.</p>}
        </Panel>
      );
    }
  }
}
