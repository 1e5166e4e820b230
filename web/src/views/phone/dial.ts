/** Calling an agent from this page. */
import { computed, signal } from "@preact/signals";
import { type Problem, post, problemOf } from "../../api";
import { type OpenedCall, connectPhone } from "../../audio/phone";
import { whenOut } from "../../session";
import { calling } from "./calling";

/** The attempt that is under way. */
const attempt = signal<AbortController | null>(null);

/** True from the click until the call is there, or there is a problem. */
export const isDialling = computed(() => attempt.value !== null);

/** What is being announced before the call. */
export const announced = signal<string | null>(null);

/** Why the last attempt gave no call. */
export const problem = signal<Problem | null>(null);

/** Give up the call that is being made, if there is one; the microphone is given back. */
export function cancel(): void {
  attempt.peek()?.abort();
  end();
}

function end(): void {
  attempt.value = null;
  announced.value = null;
}

/** Call an agent. Do it in the handler of a click: browsers let no page make sound before one. */
export async function dial(
  agent: string,
  variables: Record<string, string>,
  withMicrophone: boolean,
): Promise<void> {
  if (attempt.peek() !== null) return;
  const mine = new AbortController();
  attempt.value = mine;
  problem.value = null;
  let made = null as OpenedCall | null;
  try {
    const make = async (): Promise<OpenedCall> => {
      made = await post<OpenedCall>("/phone-calls", { agent, variables });
      if (attempt.peek() === mine) announced.value = made.announcement?.say ?? null;
      return made;
    };
    const phone = await connectPhone(make, { withMicrophone, signal: mine.signal });
    calling.value = { agent, phone, beganMs: Date.now() };
  } catch (error) {
    if (made !== null) hangUp(made);
    if (!mine.signal.aborted) problem.value = problemOf(error);
  } finally {
    if (attempt.peek() === mine) end();
  }
}

/** End a call that has no stream. Where the server is not reached, it does so itself, after 10 s. */
function hangUp({ call_sid }: OpenedCall): void {
  post(`/calls/${call_sid}/hang-up`).catch(() => undefined);
}

// Whoever leaves the page, or signs out, calls nobody; and the next user was told of no problem.
addEventListener("pagehide", cancel);
whenOut(() => {
  cancel();
  problem.value = null;
});
