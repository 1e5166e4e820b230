import { signal } from "@preact/signals";
import type { JSX } from "preact";
import { type Problem, problemOf } from "../api";
import { Button } from "./button";
import { Icon } from "./icon";

interface Shown {
  id: number;
  text: string;
  problem: Problem | null;
}

const shown = signal<readonly Shown[]>([]);
const SHOWN_MAX = 4;
const LASTS_MS = 6000;
let last = 0;

function show(text: string, problem: Problem | null): void {
  last += 1;
  const id = last;
  // The same again is not a second thing to read.
  const others = shown.value.filter((each) => each.text !== text);
  shown.value = [...others.slice(1 - SHOWN_MAX), { id, text, problem }];
  if (!problem) setTimeout(() => close(id), LASTS_MS);
}

function close(id: number): void {
  shown.value = shown.value.filter((toast) => toast.id !== id);
}

/** Tell what happened, in a corner, for some seconds. */
export function toast(text: string): void {
  show(text.charAt(0).toUpperCase() + text.slice(1), null);
}

/** Tell a problem, in a corner, until it is closed. */
export function toastProblem(error: unknown): void {
  const problem = problemOf(error);
  show(problem.what, problem);
}

/** Where toasts are shown. The shell has it once. */
export function Toasts(): JSX.Element {
  return (
    <div class="toasts" role="status" aria-live="polite">
      {shown.value.map((toast) => (
        <div key={toast.id} class={`toast ${toast.problem ? "fault" : ""}`}>
          <div>
            <p>{toast.text}</p>
            {toast.problem?.fix && <p class="muted small">{toast.problem.fix}</p>}
          </div>
          <Button kind="quiet" small aria-label="Close" onClick={() => close(toast.id)}>
            <Icon name="close" />
          </Button>
        </div>
      ))}
    </div>
  );
}
