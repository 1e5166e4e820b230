/** The recording of a call: played by the browser, loaded only when it is played. */
import { signal } from "@preact/signals";
import { address, open, Problem, problemOf } from "../../api";

export type Side = "both" | "caller" | "agent";

export const SPEEDS = [0.5, 0.75, 1, 1.25, 1.5, 2, 3] as const;

/** How much of caller and agent is heard on the left, and on the right. */
const GAINS: Record<Side, readonly [number, number, number, number]> = {
  both: [1, 0, 0, 1],
  caller: [1, 1, 0, 0],
  agent: [0, 0, 1, 1],
};

/** Plays a recording. Times are ms of the recording. `close` must be called at the end. */
export class Player {
  readonly audio = document.createElement("audio");
  readonly at = signal(0);
  readonly playing = signal(false);
  /** True while it waits for the network. */
  readonly waiting = signal(false);
  readonly speed = signal(1);
  readonly side = signal<Side>("both");
  readonly problem = signal<Problem | null>(null);
  private readonly source: string;
  private context: AudioContext | null = null;
  private gains: GainNode[] = [];
  private frame = 0;

  constructor(
    sid: string,
    readonly lengthMs: number,
  ) {
    this.source = address(`/calls/${encodeURIComponent(sid)}/audio`, { format: "pcm16" });
    const { audio } = this;
    audio.preload = "none";
    audio.src = this.source;
    audio.addEventListener("play", () => this.follow());
    audio.addEventListener("pause", () => this.follow());
    audio.addEventListener("ended", () => this.follow());
    audio.addEventListener("seeked", () => this.follow());
    audio.addEventListener("waiting", () => (this.waiting.value = true));
    audio.addEventListener("playing", () => (this.waiting.value = false));
    audio.addEventListener("error", () => void this.failed());
  }

  toggle(): void {
    if (this.playing.value) this.audio.pause();
    else void this.play();
  }

  /** Play, from a place if one is given. */
  async play(fromMs?: number): Promise<void> {
    if (fromMs !== undefined) this.seek(fromMs);
    this.problem.value = null;
    try {
      await this.context?.resume();
      await this.audio.play();
    } catch (error) {
      if (error instanceof DOMException && error.name === "AbortError") return; // paused meanwhile
      if (error instanceof DOMException && error.name === "NotAllowedError") {
        this.problem.value = new Problem(
          "The browser does not let this page play sound yet.",
          "Press Play once more, or allow sound for this page in the browser.",
          "",
          -1,
        );
      } else await this.failed();
    }
  }

  seek(ms: number): void {
    const to = Math.min(Math.max(0, ms), this.lengthMs);
    this.at.value = to;
    this.audio.currentTime = to / 1000;
  }

  by(ms: number): void {
    this.seek(this.at.value + ms);
  }

  setSpeed(speed: number): void {
    this.speed.value = speed;
    this.audio.playbackRate = speed;
    this.audio.defaultPlaybackRate = speed;
  }

  faster(steps: number): void {
    const now = SPEEDS.findIndex((speed) => speed === this.speed.value);
    this.setSpeed(SPEEDS[Math.min(Math.max(0, now + steps), SPEEDS.length - 1)] ?? 1);
  }

  /** Play one side alone, in both ears, or both sides, one in each ear. */
  hear(side: Side): void {
    this.side.value = side;
    if (side !== "both" && !this.context) this.split();
    GAINS[side].forEach((gain, place) => {
      const node = this.gains[place];
      if (node) node.gain.value = gain;
    });
  }

  /** Lead the element's sound through four gains. Done only when a side is chosen: without it the
   * browser plays the file itself, which works where Web Audio does not. */
  private split(): void {
    const context = (this.context = new AudioContext());
    const splitter = context.createChannelSplitter(2);
    const merger = context.createChannelMerger(2);
    context.createMediaElementSource(this.audio).connect(splitter);
    this.gains = [0, 1, 2, 3].map((place) => {
      const gain = context.createGain();
      splitter.connect(gain, place < 2 ? 0 : 1);
      gain.connect(merger, 0, place % 2);
      return gain;
    });
    merger.connect(context.destination);
    void context.resume();
  }

  private follow(): void {
    const { audio } = this;
    this.playing.value = !audio.paused && !audio.ended;
    this.waiting.value = false;
    this.at.value = audio.currentTime * 1000;
    cancelAnimationFrame(this.frame);
    const tick = (): void => {
      this.at.value = audio.currentTime * 1000;
      if (this.playing.value) this.frame = requestAnimationFrame(tick);
    };
    if (this.playing.value) this.frame = requestAnimationFrame(tick);
  }

  /** Find out why the browser cannot play on: it does not tell what the server answered. */
  private async failed(): Promise<void> {
    this.audio.pause();
    this.follow();
    try {
      await open("GET", this.source, undefined, undefined, { Range: "bytes=0-0" });
      this.problem.value = new Problem(
        "The recording could not be played on.",
        "Press Play to go on from here.",
        "",
        0,
      );
      const at = this.at.value;
      this.audio.load();
      this.audio.currentTime = at / 1000;
    } catch (error) {
      const problem = problemOf(error);
      this.problem.value =
        problem.status === 404
          ? new Problem(
              "The recording was erased while this page was open.",
              "What was written down of the call is below, if it was not erased as well: load the page again.",
              problem.code,
              404,
            )
          : problem;
    }
  }

  close(): void {
    cancelAnimationFrame(this.frame);
    this.audio.pause();
    this.audio.removeAttribute("src");
    void this.context?.close();
  }
}
