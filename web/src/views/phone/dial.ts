/** Calling an agent from this page. */
import { signal } from "@preact/signals";
import { type Problem, post, problemOf } from "../../api";
import { type OpenedCall, connectPhone } from "../../audio/phone";
import { calling } from "./calling";

/** True from the click until the call is there, or there is a problem. */
export const isDialling = signal(false);

/** What is being announced before the call. */
export const announced = signal<string | null>(null);

/** Why the last attempt gave no call. */
export const problem = signal<Problem | null>(null);

/** Call an agent. Do it in the handler of a click: browsers let no page make sound before one. */
export async function dial(
  agent: string,
  variables: Record<string, string>,
  withMicrophone: boolean,
): Promise<void> {
  if (isDialling.value) return;
  isDialling.value = true;
  problem.value = null;
  try {
    const make = async (): Promise<OpenedCall> => {
      const call = await post<OpenedCall>("/phone-calls", { agent, variables });
      announced.value = call.announcement?.say ?? null;
      return call;
    };
    const phone = await connectPhone(make, { withMicrophone });
    calling.value = { agent, phone, beganMs: Date.now() };
  } catch (error) {
    problem.value = problemOf(error);
  } finally {
    isDialling.value = false;
    announced.value = null;
  }
}
