// What can go wrong with sound in a browser, in words: what happened, and how to go on.

import { Problem } from "../api";

/** Thrown for anything that keeps the page from the microphone or the loudspeaker. */
export class SoundError extends Problem {
  constructor(what: string, fix: string) {
    super(what, fix, "", 0);
  }
}

/** Return the problem of a page to which browsers give no sound, or null. */
export function insecurePage(): SoundError | null {
  if (isSecureContext) return null;
  const port = location.port || "80";
  return new SoundError(
    `Browsers give the microphone and live sound to https pages and to localhost alone, and this` +
      ` page was opened at ${location.origin}.`,
    `On the machine that serves it, open http://localhost:${port}. On this one, run` +
      ` ssh -L ${port}:127.0.0.1:${port} ${location.hostname}, and open http://localhost:${port};` +
      ` or serve the console over https.`,
  );
}

/** Throw SoundError if the browser keeps microphone and audio thread from this page. */
export function requireSecurePage(): void {
  const problem = insecurePage();
  if (problem !== null) throw problem;
}

/** What the microphone is asked for. */
export type MicrophoneUse = "call" | "take-over";

/** How to try once more, and what can be done without a microphone. */
const WAYS: Record<MicrophoneUse, { again: string; without: string }> = {
  call: { again: "call again", without: "call without a microphone" },
  "take-over": { again: "take over again", without: "write under Say what the agent shall say" },
};

/** Return the SoundError for what getUserMedia threw. */
export function microphoneError(error: unknown, use: MicrophoneUse): SoundError {
  const name = error instanceof DOMException ? error.name : "";
  const words = error instanceof Error ? error.message : "";
  const { again, without } = WAYS[use];
  if (name === "NotAllowedError" && /system/i.test(words)) {
    return new SoundError(
      "The operating system does not let this browser use the microphone.",
      `Allow it in the system's privacy settings, and ${again}.`,
    );
  }
  if (name === "NotAllowedError" || name === "SecurityError") {
    return new SoundError(
      "This page was refused the microphone.",
      `Allow it by the symbol beside the address, and ${again}; or ${without}.`,
    );
  }
  if (name === "NotFoundError" || name === "OverconstrainedError") {
    return new SoundError(
      "The browser finds no microphone.",
      `Connect one and ${again}; or ${without}.`,
    );
  }
  if (name === "NotReadableError" || name === "AbortError") {
    return new SoundError(
      "The microphone cannot be opened: another program has it, or it has a fault.",
      `Close what uses it and ${again}; or ${without}.`,
    );
  }
  return new SoundError(
    `The browser gives no microphone${words ? `: ${words}` : ""}.`,
    `Try another browser; or ${without}.`,
  );
}
