/**
 * What this page hears of a live call, and speaks into it. One call at a time, and it goes on while
 * another view is shown: the shell says so, and leads back.
 */
import { computed, signal } from "@preact/signals";
import { Problem, post } from "./api";
import type { Listening } from "./audio/listening";
import type { TakeOver } from "./audio/operator";
import { user, whenOut } from "./session";
import { toast, toastProblem } from "./ui/toast";

export type OnAir =
  | { kind: "listening"; callSid: string; listening: Listening }
  | { kind: "taken"; callSid: string; takeOver: TakeOver };

export const onAir = signal<OnAir | null>(null);

/** Where a tab keeps, over a reload, who spoke in which call. */
const SPEAKS_IN = "offhook.speaks-in";

interface Speaker {
  callSid: string;
  user: string | undefined;
}

/** Who speaks in which call from this page now. */
let speaker: Speaker | null = null;

/** Who was cut off: the connection, or the page itself, went. */
const wasCutOff = signal<Speaker | null>(kept());

/** The call that this user was cut off from on this tab; null: none. */
export const cutOff = computed<string | null>(() => {
  const was = wasCutOff.value;
  return was !== null && was.user === user.value?.name ? was.callSid : null;
});

/** Return what the page kept that was here before. A copy of the tab must not find it. */
function kept(): Speaker | null {
  const text = sessionStorage.getItem(SPEAKS_IN);
  sessionStorage.removeItem(SPEAKS_IN);
  try {
    const found = JSON.parse(text ?? "null") as Partial<Speaker> | null;
    return typeof found?.callSid === "string" ? { callSid: found.callSid, user: found.user } : null;
  } catch {
    return null; // an older page kept the CallSid alone
  }
}

addEventListener("pagehide", () => {
  const last = speaker ?? wasCutOff.peek();
  if (last) sessionStorage.setItem(SPEAKS_IN, JSON.stringify(last));
});
// A page that comes back as it was still knows.
addEventListener("pageshow", () => sessionStorage.removeItem(SPEAKS_IN));

/** Keep that this tab speaks in a call, or that it has stopped on purpose. */
export function keepSpeaking(callSid: string | null): void {
  speaker = callSid === null ? null : { callSid, user: user.peek()?.name };
  wasCutOff.value = null;
}

/** Keep that this user was cut off. */
function cut(callSid: string): void {
  speaker = null;
  wasCutOff.value = { callSid, user: user.peek()?.name };
}

/** Functions of audio/, which the view of a call has loaded; the shell shall not load them. */
type ListenTo = (make: () => Promise<{ stream: string }>) => Promise<Listening>;
type TakeCall = (make: () => Promise<{ stream: string }>) => Promise<TakeOver>;

/** Made anew whenever the person asks for something else; what was asked for before is then dropped. */
let latest = Symbol();

/** Raised in the place of a request that is not wanted any more; nobody is told. */
class UnwantedError extends Error {}

/** Open something for the latest request. Throws UnwantedError when another one came meanwhile. */
async function wanted<T>(
  open: (make: () => Promise<{ stream: string }>) => Promise<T>,
  path: string,
  end: (opened: T) => void,
): Promise<T> {
  const mine = latest;
  const opened = await open(() => {
    // The browser may have asked for the microphone all the while.
    if (latest !== mine) throw new UnwantedError();
    return post(path);
  });
  if (latest === mine) return opened;
  end(opened);
  throw new UnwantedError();
}

/** Listen to a call; what was listened to before ends. Call it in the handler of a click. */
export async function listen(callSid: string, listenTo: ListenTo): Promise<void> {
  leave();
  try {
    const listening = await wanted(listenTo, `/calls/${callSid}/listening`, (late) => late.stop());
    onAir.value = { kind: "listening", callSid, listening };
    follow(listening);
  } catch (error) {
    if (!(error instanceof UnwantedError)) throw error;
  }
}

function follow(listening: Listening): void {
  const end = listening.state.subscribe((state) => {
    if (state === "connecting" || state === "live") return;
    const current = onAir.peek();
    if (current?.kind === "listening" && current.listening === listening) onAir.value = null;
    if (state === "lost") {
      toastProblem(new Problem("You do not hear the call any more: the connection broke off.", "Press Listen again.", "", 0));
    }
    queueMicrotask(() => end());
  });
}

/** Attempts to have a call back whose connection broke off: the server waits 3 s for that. */
const ATTEMPTS = [0, 700, 1500];

/** Take a call over. Call it in the handler of a click. */
export async function take(callSid: string, takeCall: TakeCall): Promise<void> {
  leave();
  try {
    await taken(callSid, takeCall, 0);
  } catch (error) {
    if (!(error instanceof UnwantedError)) throw error;
  }
}

async function taken(callSid: string, takeCall: TakeCall, attempt: number): Promise<void> {
  const takeOver = await wanted(takeCall, `/calls/${callSid}/take-over`, (late) => late.leave());
  onAir.value = { kind: "taken", callSid, takeOver };
  // Not an effect: that would follow every signal which is read here, such as the toasts shown.
  const end = takeOver.state.subscribe((state) => {
    if (state === "connecting") return;
    if (state === "taken") {
      if (attempt > 0) toast("The connection broke off, and is back");
      attempt = 0;
      keepSpeaking(callSid);
      return;
    }
    queueMicrotask(() => end());
    const current = onAir.peek();
    const isOurs = current?.kind === "taken" && current.takeOver === takeOver;
    if (state === "lost" && isOurs) void again(callSid, takeCall, attempt);
    else {
      if (isOurs) onAir.value = null;
      if (isOurs) keepSpeaking(null);
      if (takeOver.why.value === "lost" || takeOver.why.value === "silent") cut(callSid);
      tell(state, takeOver);
    }
  });
}

async function again(callSid: string, takeCall: TakeCall, attempt: number): Promise<void> {
  const wait = ATTEMPTS[attempt];
  const mine = latest;
  try {
    if (wait === undefined) throw new Problem("The connection to the call broke off.", "", "", 0);
    await new Promise((resolve) => setTimeout(resolve, wait));
    if (latest !== mine) return;
    await taken(callSid, takeCall, attempt + 1);
  } catch (error) {
    if (latest !== mine) return;
    if (wait !== undefined && attempt + 1 < ATTEMPTS.length) {
      await again(callSid, takeCall, attempt + 1);
      return;
    }
    onAir.value = null;
    cut(callSid);
    toastProblem(
      new Problem(
        `The caller is with the agent again: ${error instanceof Problem ? error.what : "the connection broke off."}`,
        "Take over again when the server is reached.",
        "",
        0,
      ),
    );
  }
}

/** Hand a caller back, and tell the agent a note; return what happened. */
export async function handBack(callSid: string, note: string): Promise<string> {
  // Without a connection there is nothing to speak by, and it shall not come back meanwhile.
  if (speaksIn(callSid)?.takeOver.state.peek() === "lost") drop();
  const { what } = await post<{ what: string }>(`/calls/${callSid}/hand-back`, note ? { note } : {});
  if (speaksIn(callSid)) drop();
  return what;
}

function speaksIn(callSid: string): Extract<OnAir, { kind: "taken" }> | null {
  const current = onAir.peek();
  return current?.kind === "taken" && current.callSid === callSid ? current : null;
}

/** Why the server hands a caller back, in words (HandBackCause of events/types.py). */
const CAUSES: Record<string, string> = {
  asked: "it was asked for",
  lost: "your connection was gone for 3 s",
  silent: "your microphone sent nothing for 5 s",
  call_over: "the call is over",
};

function tell(state: TakeOver["state"]["value"], takeOver: TakeOver): void {
  const why = takeOver.why.value;
  if (state === "refused") {
    toastProblem(new Problem(`You do not have the call: ${why || "it was refused"}.`, "", "", 409));
  } else if (state === "returned" && why !== "asked" && why !== "") {
    toastProblem(new Problem(`The caller is with the agent again: ${CAUSES[why] ?? why}.`, "", "", 409));
  } else if (state === "over") toast("The call is over.");
}

/** Stop listening, or speaking: the agent has the caller again. */
export function leave(): void {
  const left = drop();
  if (left?.kind === "taken" && left.takeOver.state.peek() === "lost") {
    // The server waits for a lost operator. Where it is not reached, it hands back by itself.
    post(`/calls/${left.callSid}/hand-back`).catch(() => undefined);
  }
}

/** End what is on the air, and whatever would bring it back. */
function drop(): OnAir | null {
  latest = Symbol();
  const current = onAir.peek();
  onAir.value = null;
  if (current?.kind === "listening") current.listening.stop();
  if (current?.kind === "taken") {
    keepSpeaking(null);
    current.takeOver.leave();
  }
  return current;
}

// Whoever signs out speaks no more, and the next user was not cut off.
whenOut(() => {
  leave();
  keepSpeaking(null);
});
