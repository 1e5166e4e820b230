/**
 * Rest of a page that nobody sees. A browser opens six connections to a host of HTTP/1.1 for all its
 * tabs, and each page that follows the live calls holds one: a seventh would load nothing.
 */
import { computed, effect, signal } from "@preact/signals";
import { goOnFollowing, restFollowing } from "./live";
import { onAir } from "./on-air";
import { isInCall } from "./views/phone/calling";

/** A glance at another tab costs nothing. */
const REST_AFTER_MS = 30_000;

const isHidden = signal(document.hidden);
const isUnused = computed(() => isHidden.value && onAir.value === null && !isInCall.value);

/** End the live stream while the page is hidden and in no call. Returns what ends that. */
export function startResting(): () => void {
  const look = () => {
    isHidden.value = document.hidden;
  };
  look(); // nothing told of what changed before
  document.addEventListener("visibilitychange", look);
  const end = effect(() => {
    if (!isUnused.value) {
      goOnFollowing();
      return undefined;
    }
    const timer = setTimeout(restFollowing, REST_AFTER_MS);
    return () => clearTimeout(timer);
  });
  return () => {
    document.removeEventListener("visibilitychange", look);
    end();
  };
}
