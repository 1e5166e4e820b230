/** Who is signed in. */
import { computed, effect, signal, untracked } from "@preact/signals";
import { csrf, get, post, Problem, problemOf, remove, whenSignedOut } from "./api";

export type Role = "viewer" | "operator" | "admin";

export interface Session {
  name: string;
  role: Role;
  csrf: string;
  version: string;
}

export type SessionState =
  /** The page has just been loaded, and asks. */
  | { kind: "asking" }
  /** Nobody is signed in; `expired`: somebody was, on this page. */
  | { kind: "out"; expired: boolean }
  | { kind: "in"; session: Session }
  /** The server could not be asked. */
  | { kind: "failed"; problem: Problem };

export const session = signal<SessionState>({ kind: "asking" });

/** The session when somebody is signed in, else null. */
export const user = computed<Session | null>(() =>
  session.value.kind === "in" ? session.value.session : null,
);

const RANKS: Record<Role, number> = { viewer: 0, operator: 1, admin: 2 };

/** Return true if the user has this role, or one that includes it. Views hide nothing by it: they
 * show a disabled control with the reason, and the server decides. */
export function may(role: Role): boolean {
  const now = user.value;
  return now !== null && RANKS[now.role] >= RANKS[role];
}

function signedIn(found: Session): void {
  csrf.value = found.csrf;
  session.value = { kind: "in", session: found };
}

/** Ask the server who is signed in. */
export async function resume(): Promise<void> {
  try {
    signedIn(await get<Session>("/session"));
  } catch (error) {
    const problem = problemOf(error);
    session.value =
      problem.status === 401 ? { kind: "out", expired: false } : { kind: "failed", problem };
  }
}

/** Sign in with a one-time code or a password. Raises Problem. */
export async function signIn(by: { code: string } | { name: string; password: string }): Promise<void> {
  signedIn(await post<Session>("/session", by));
}

export async function signOut(): Promise<void> {
  await remove<void>("/session");
  csrf.value = "";
  session.value = { kind: "out", expired: false };
}

/** Have `act` done each time that nobody is signed in any more, and now if nobody is. */
export function whenOut(act: () => void): void {
  effect(() => {
    if (session.value.kind === "out") untracked(act);
  });
}

whenSignedOut(() => {
  if (session.value.kind === "in") session.value = { kind: "out", expired: true };
});
