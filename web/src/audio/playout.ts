// What waits to be played, with marks in between, as Twilio keeps it (twilio.md §1.6).

import { DECODED, RATE } from "./mulaw";

/** How much audio waits before it plays, at most, and what goes when there is more. */
export interface PlayoutRules {
  /** Milliseconds that wait before the first of them plays: the network is uneven. */
  readonly startMs: number;
  /** Milliseconds that may wait. */
  readonly mostMs: number;
  /** What is thrown away beyond: the newest, as at Twilio, or the oldest, to stay close to now. */
  readonly drop: "newest" | "oldest";
}

/** As Twilio: the agent speaks faster than it is heard, and ten minutes of it may wait. */
export const AS_TWILIO: PlayoutRules = { startMs: 60, mostMs: 600_000, drop: "newest" };

/** For a voice that comes as it is spoken: whoever listens shall not fall behind. */
export const CLOSE_TO_NOW: PlayoutRules = { startMs: 60, mostMs: 300, drop: "oldest" };

/** As CLOSE_TO_NOW for whoever only listens: it comes gathered, by 100 ms (docs/protocols/console.md §3). */
export const GATHERED: PlayoutRules = { startMs: 160, mostMs: 400, drop: "oldest" };

/** For the agent's voice to whoever only listens: each piece has its own bound, by when the caller hears it. */
export const IN_STEP: PlayoutRules = { startMs: 160, mostMs: 600_000, drop: "oldest" };

/** Audio and marks in the order in which they came. It knows no clock: `read` is its time. */
export class PlayoutQueue {
  /** Samples that wait. */
  waiting = 0;
  /** Samples that were thrown away because too many waited. */
  dropped = 0;
  private readonly pieces: Uint8Array[] = [];
  /** Samples of the first piece that are gone. */
  private offset = 0;
  private readonly marks: { place: number; name: string }[] = [];
  /** Samples that have left the queue, played or dropped: the place of the first that waits. */
  private place = 0;
  private isPlaying = false;
  /** Samples of silence after which even a short piece plays. */
  private hold = 0;

  constructor(private readonly rules: PlayoutRules) {}

  /**
   * Append mu-law audio, perhaps none, after which no more than `mostMs` wait. Return the names of
   * marks that were passed by throwing some away.
   */
  push(audio: Uint8Array, mostMs = this.rules.mostMs): string[] {
    const most = Math.round((Math.max(0, Math.min(mostMs, this.rules.mostMs)) * RATE) / 1000);
    const excess = Math.max(0, this.waiting + audio.length - most);
    this.dropped += excess;
    let piece = audio;
    if (excess > 0 && this.rules.drop === "newest") {
      piece = audio.subarray(0, audio.length - excess);
    }
    if (piece.length > 0) {
      if (!this.isPlaying && this.waiting === 0) {
        this.hold = this.start;
      }
      this.pieces.push(piece);
      this.waiting += piece.length;
    }
    if (excess > 0 && this.rules.drop === "oldest") {
      this.leave(excess);
      return this.passed();
    }
    return [];
  }

  /** Set a mark after what waits. Return its name if nothing does: it comes back at once. */
  mark(name: string): string[] {
    this.marks.push({ place: this.place + this.waiting, name });
    return this.passed();
  }

  /** Throw away what waits. Return the names of all marks, which come back unplayed. */
  clear(): string[] {
    this.leave(this.waiting);
    this.isPlaying = false;
    return this.passed();
  }

  /** Fill `output` with the next samples, of a full scale of 1. Return the marks passed by. */
  read(output: Float32Array): string[] {
    output.fill(0);
    if (!this.isPlaying) {
      if (this.waiting === 0) {
        return [];
      }
      this.isPlaying = this.waiting >= this.start || this.hold <= 0;
      this.hold -= output.length;
      if (!this.isPlaying) {
        return [];
      }
    }
    const size = Math.min(output.length, this.waiting);
    for (let at = 0; at < size; ) {
      const piece = this.pieces[0]!;
      const count = Math.min(size - at, piece.length - this.offset);
      for (let n = 0; n < count; n++) {
        output[at + n] = DECODED[piece[this.offset + n]!]!;
      }
      this.leave(count);
      at += count;
    }
    if (this.waiting === 0) {
      this.isPlaying = false;
    }
    return this.passed();
  }

  private get start(): number {
    return (this.rules.startMs * RATE) / 1000;
  }

  private leave(count: number): void {
    this.place += count;
    this.waiting -= count;
    for (let left = count; left > 0; ) {
      const piece = this.pieces[0]!;
      const part = Math.min(left, piece.length - this.offset);
      this.offset += part;
      left -= part;
      if (this.offset === piece.length) {
        this.pieces.shift();
        this.offset = 0;
      }
    }
  }

  private passed(): string[] {
    const names: string[] = [];
    while (this.marks.length > 0 && this.marks[0]!.place <= this.place) {
      names.push(this.marks.shift()!.name);
    }
    return names;
  }
}
