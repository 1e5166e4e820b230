// What the page and the audio thread tell each other.

import type { PlayoutRules } from "./playout";

/** Name under which the audio thread has the microphone's side. */
export const CAPTURE = "offhook-capture";

/** Name under which the audio thread has the loudspeaker's side. */
export const PLAYBACK = "offhook-playback";

/** From the microphone: 20 ms of mu-law, and the loudest sample in it, of a full scale of 1. */
export interface Captured {
  readonly frame: Uint8Array;
  readonly peak: number;
}

/** To the loudspeaker: audio, a mark, or "throw away what waits". */
export type PlaybackOrder =
  /** `mostMs`: no more than that shall wait then. */
  | { readonly audio: Uint8Array; readonly mostMs?: number | undefined }
  | { readonly mark: string }
  | { readonly clear: true };

/** From the loudspeaker: marks that come back, and every 60 ms the level and what waits. */
export interface PlaybackReport {
  readonly marks: readonly string[];
  readonly level?: {
    readonly peak: number;
    readonly waitingMs: number;
    readonly droppedMs: number;
  };
}

/** Options with which a loudspeaker's side is made. */
export interface PlaybackOptions {
  readonly rules: PlayoutRules;
}
