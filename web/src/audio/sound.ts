// One AudioContext, with the two processors of the audio thread (worklet.ts).

import { type Signal, signal } from "@preact/signals";
import { RATE } from "./mulaw";
import { type PlayoutRules } from "./playout";
import { SoundError, requireSecurePage } from "./problems";
import workletUrl from "./worklet?worker&url";
import {
  CAPTURE,
  PLAYBACK,
  type Captured,
  type PlaybackOptions,
  type PlaybackOrder,
  type PlaybackReport,
} from "./worklet_messages";

/** `held`: the browser plays nothing until the person clicks, or the device has paused it. */
export type SoundState = "held" | "running" | "closed";

/** The browser's sound, for one call or one listener. Open it in the handler of a click. */
export class Sound {
  readonly state: Signal<SoundState> = signal("held");
  private source: MediaStreamAudioSourceNode | null = null;
  private captured: AudioWorkletNode | null = null;

  private constructor(private readonly context: AudioContext) {
    const look = () => {
      const now = context.state;
      this.state.value = now === "running" || now === "closed" ? now : "held";
    };
    context.addEventListener("statechange", look);
    look();
  }

  /** Open the sound, with a microphone or without. Throws SoundError. */
  static async open(microphone: MediaStream | null): Promise<Sound> {
    requireSecurePage();
    let sound = new Sound(contextAtCallRate());
    try {
      sound.connect(microphone);
    } catch {
      // Firefox connects no microphone of another rate: the worklet resamples instead.
      await sound.close();
      sound = new Sound(new AudioContext({ latencyHint: "interactive" }));
      sound.connect(microphone);
    }
    try {
      await sound.context.audioWorklet.addModule(workletUrl);
    } catch {
      await sound.close();
      throw new SoundError(
        "A part of this page could not be loaded: the server is away, or it has a newer page.",
        "Load the page again.",
      );
    }
    sound.resume();
    return sound;
  }

  /** Tell of every 20 ms of the microphone; without one they are silence. */
  capture(onFrame: (captured: Captured) => void): void {
    const node = new AudioWorkletNode(this.context, CAPTURE, {
      channelCount: 1,
      channelCountMode: "explicit",
      outputChannelCount: [1],
    });
    node.port.onmessage = (event: MessageEvent<Captured>) => onFrame(event.data);
    this.captured = node;
    this.source?.connect(node);
    // A node that leads nowhere may be left out by the browser. It outputs silence.
    node.connect(this.context.destination);
  }

  /** Return a voice that plays by those rules. `onMarks` hears of the marks that come back. */
  playback(rules: PlayoutRules, onMarks: (names: readonly string[]) => void = () => {}): Playback {
    const processorOptions: PlaybackOptions = { rules };
    const node = new AudioWorkletNode(this.context, PLAYBACK, {
      numberOfInputs: 0,
      outputChannelCount: [1],
      processorOptions,
    });
    const gain = this.context.createGain();
    node.connect(gain).connect(this.context.destination);
    return new Playback(node, gain, onMarks);
  }

  /** Use another microphone. Throws DOMException for one that this context cannot take. */
  connect(microphone: MediaStream | null): void {
    this.source?.disconnect();
    this.source = microphone && this.context.createMediaStreamSource(microphone);
    if (this.captured !== null) {
      this.source?.connect(this.captured);
    }
  }

  /** Go on after `held`; call it in the handler of a click. */
  resume(): void {
    // The promise stays open until the browser lets the page play; `state` tells when it does.
    this.context.resume().catch(() => {});
  }

  async close(): Promise<void> {
    if (this.context.state !== "closed") {
      await this.context.close();
    }
  }
}

/** One voice to the loudspeaker. */
export class Playback {
  /** Loudest sample of the last 60 ms, of a full scale of 1. */
  readonly level: Signal<number> = signal(0);
  /** Milliseconds of audio that wait to be played. */
  readonly waitingMs: Signal<number> = signal(0);

  constructor(
    private readonly node: AudioWorkletNode,
    private readonly gain: GainNode,
    onMarks: (names: readonly string[]) => void,
  ) {
    node.port.onmessage = (event: MessageEvent<PlaybackReport>) => {
      const { marks, level } = event.data;
      if (marks.length > 0) {
        onMarks(marks);
      }
      if (level !== undefined) {
        this.level.value = level.peak;
        this.waitingMs.value = level.waitingMs;
      }
    };
  }

  /** Append mu-law audio; no more than `mostMs` shall wait then, or than its rules say. */
  play(audio: Uint8Array, mostMs?: number): void {
    this.order({ audio, mostMs });
  }

  /** Set a mark after what waits. */
  mark(name: string): void {
    this.order({ mark: name });
  }

  /** Throw away what waits; its marks come back. */
  clear(): void {
    this.order({ clear: true });
  }

  /** Set the loudness, of 0 to 1. */
  set volume(value: number) {
    this.gain.gain.value = value;
  }

  private order(order: PlaybackOrder): void {
    this.node.port.postMessage(order);
  }
}

/** Return a context at the rate of a call, if the browser has such; it resamples best itself. */
function contextAtCallRate(): AudioContext {
  try {
    return new AudioContext({ sampleRate: RATE, latencyHint: "interactive" });
  } catch {
    return new AudioContext({ latencyHint: "interactive" });
  }
}
