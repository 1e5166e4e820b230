import type { ComponentChildren, JSX } from "preact";
import type { Problem } from "../api";
import { Button } from "./button";

export type Tone = "normal" | "caller" | "agent" | "function" | "operator" | "fault" | "good";

/** A word in a coloured capsule. The word alone must say it: not everybody sees the colour. */
export function Badge({ tone = "normal", children }: { tone?: Tone; children: ComponentChildren }): JSX.Element {
  return <span class={`badge ${tone}`}>{children}</span>;
}

/** A bordered part of a view, with a heading. */
export function Panel(props: {
  title?: string;
  class?: string;
  children: ComponentChildren;
}): JSX.Element {
  return (
    <section class={`panel ${props.class ?? ""}`} aria-label={props.title}>
      {props.title && <h2>{props.title}</h2>}
      {props.children}
    </section>
  );
}

/** What is shown where there is nothing: why, and what to do. */
export function Empty({ title, children }: { title: string; children?: ComponentChildren }): JSX.Element {
  return (
    <div class="empty">
      <h2>{title}</h2>
      {children}
    </div>
  );
}

/** A problem: what happened, the step that goes on, and a button for it where there is one. */
export function ErrorBox(props: {
  problem: Problem;
  again?: () => void;
  againLabel?: string;
}): JSX.Element {
  const { what, fix, code } = props.problem;
  return (
    <div class="error-box" role="alert">
      <p class="what">{what}</p>
      {fix && <p>{fix}</p>}
      {code && <p class="muted small">{code}</p>}
      {props.again && (
        <p>
          <Button small onClick={props.again}>{props.againLabel ?? "Try again"}</Button>
        </p>
      )}
    </div>
  );
}

/** A wait. It appears after a quarter of a second, so that quick answers do not flicker. */
export function Loading({ what = "Loading" }: { what?: string }): JSX.Element {
  return (
    <div class="loading" role="status">
      <span class="spinner" aria-hidden="true" />
      {what}…
    </div>
  );
}

/** A row of figures, each with its name. */
export function Stats({ children }: { children: ComponentChildren }): JSX.Element {
  return <dl class="stats">{children}</dl>;
}

export function Stat({ name, children }: { name: string; children: ComponentChildren }): JSX.Element {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

/** Names and values, one pair a line; a pair without a value is left out. */
export function Facts({ facts }: { facts: readonly (readonly [string, ComponentChildren])[] }): JSX.Element {
  return (
    <dl class="facts">
      {facts
        .filter(([, value]) => value !== null && value !== undefined && value !== "")
        .map(([name, value]) => [<dt key={name}>{name}</dt>, <dd key={`${name}=`}>{value}</dd>])}
    </dl>
  );
}
