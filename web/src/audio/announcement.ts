// What Twilio says to a telephone's caller before the agent, in the browser's own voice.

/** Words, in a language of BCP-47; null is Twilio's default. */
export interface Announcement {
  readonly say: string;
  readonly language: string | null;
}

/** Milliseconds that a browser may take to tell of its voices. */
const VOICES_MS = 500;

/** Milliseconds for a character, and for each announcement, after which it is cut off. */
const CHARACTER_MS = 65;
const MORE_MS = 5000;

/** Say an announcement, until `signal`; do nothing where the browser has no voice. Never throws. */
export async function announce({ say, language }: Announcement, signal: AbortSignal): Promise<void> {
  if (!(await hasVoice()) || signal.aborted) return;
  await new Promise<void>((resolve) => {
    const words = new SpeechSynthesisUtterance(say);
    words.lang = language ?? "en-US";
    const cutOff = () => {
      speechSynthesis.cancel();
      done();
    };
    const timer = setTimeout(cutOff, say.length * CHARACTER_MS + MORE_MS);
    signal.addEventListener("abort", cutOff);
    // Neither may outlive the words: cancel() ends whatever is said then.
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", cutOff);
      resolve();
    };
    words.onend = words.onerror = done;
    speechSynthesis.speak(words);
  });
}

async function hasVoice(): Promise<boolean> {
  if (!("speechSynthesis" in window)) return false;
  if (speechSynthesis.getVoices().length > 0) return true;
  await new Promise<void>((resolve) => {
    speechSynthesis.addEventListener("voiceschanged", () => resolve(), { once: true });
    setTimeout(resolve, VOICES_MS);
  });
  return speechSynthesis.getVoices().length > 0;
}
