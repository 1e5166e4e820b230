/** The call from this page. It goes on while other views are shown, until it is hung up. */
import { computed, signal } from "@preact/signals";
import type { Phone } from "../../audio/phone";
import { whenOut } from "../../session";

export interface Calling {
  agent: string;
  phone: Phone;
  /** Milliseconds since 1970. */
  beganMs: number;
}

/** The call that is on, or the last one; null before the first. */
export const calling = signal<Calling | null>(null);

/** True while a call is on. */
export const isInCall = computed(
  () => calling.value !== null && calling.value.phone.state.value !== "over",
);

// Whoever signs out speaks no more, and the next user has not called anybody.
whenOut(() => {
  calling.value?.phone.hangUp();
  calling.value = null;
});
