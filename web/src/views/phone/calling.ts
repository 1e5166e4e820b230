/** The call from this page. It goes on while other views are shown, until it is hung up. */
import { signal } from "@preact/signals";
import type { Phone } from "../../audio/phone";

export interface Calling {
  agent: string;
  phone: Phone;
  /** Milliseconds since 1970. */
  beganMs: number;
}

/** The call that is on, or the last one; null before the first. */
export const calling = signal<Calling | null>(null);
