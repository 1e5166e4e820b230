// The audio thread: two processors that Sound (sound.ts) makes. The build puts this file and what
// it imports into one file of its own, which the browser loads as an AudioWorklet.

import { FRAME_SAMPLES, RATE, encode } from "./mulaw";
import { PlayoutQueue } from "./playout";
import { Resampler } from "./resampler";
import {
  CAPTURE,
  PLAYBACK,
  type Captured,
  type PlaybackOptions,
  type PlaybackOrder,
  type PlaybackReport,
} from "./worklet_messages";

// Globals of the audio thread, which TypeScript's library of the page does not have.
declare const sampleRate: number;
declare class AudioWorkletProcessor {
  readonly port: MessagePort;
}
declare function registerProcessor(name: string, made: typeof AudioWorkletProcessor): void;

/** Samples that are played between two looks at the marks: 2 ms. */
const STEP = 16;

/** Samples between two reports of the level: 60 ms. */
const REPORT_SAMPLES = 480;

/** Microphone to frames of 20 ms, of mu-law at 8000 samples a second. */
class CaptureProcessor extends AudioWorkletProcessor {
  private readonly resampler = new Resampler(Math.round(sampleRate), RATE);
  private frame = new Uint8Array(FRAME_SAMPLES);
  private filled = 0;
  private peak = 0;

  process(inputs: Float32Array[][], outputs: Float32Array[][]): boolean {
    // A microphone that was unplugged has no channel. The caller's clock goes on all the same.
    const input = inputs[0]?.[0] ?? new Float32Array(outputs[0]?.[0]?.length ?? 128);
    for (const sample of this.resampler.push(input)) {
      this.frame[this.filled++] = encode(sample);
      this.peak = Math.max(this.peak, Math.abs(sample));
      if (this.filled === FRAME_SAMPLES) {
        const captured: Captured = { frame: this.frame, peak: this.peak };
        this.port.postMessage(captured, [this.frame.buffer]);
        this.frame = new Uint8Array(FRAME_SAMPLES);
        this.filled = 0;
        this.peak = 0;
      }
    }
    return true;
  }
}

/** Mu-law with marks to the loudspeaker. The clock of its marks is the loudspeaker's own. */
class PlaybackProcessor extends AudioWorkletProcessor {
  private readonly queue: PlayoutQueue;
  private readonly resampler = new Resampler(RATE, Math.round(sampleRate));
  private readonly step = new Float32Array(STEP);
  private rest = new Float32Array(0);
  private played = 0;
  private peak = 0;

  constructor(options: { processorOptions: PlaybackOptions }) {
    super();
    this.queue = new PlayoutQueue(options.processorOptions.rules);
    this.port.onmessage = (event: MessageEvent<PlaybackOrder>) => this.obey(event.data);
  }

  process(_inputs: Float32Array[][], outputs: Float32Array[][]): boolean {
    const output = outputs[0]?.[0];
    if (output === undefined) {
      return true;
    }
    let at = 0;
    while (at < output.length) {
      if (this.rest.length === 0) {
        this.tell(this.queue.read(this.step));
        this.measure();
        // At one and the same rate the result is `step` itself, which is filled anew only when
        // nothing is left of it.
        this.rest = this.resampler.push(this.step) as Float32Array<ArrayBuffer>;
        continue;
      }
      const part = this.rest.subarray(0, output.length - at);
      output.set(part, at);
      at += part.length;
      this.rest = this.rest.subarray(part.length);
    }
    return true;
  }

  private obey(order: PlaybackOrder): void {
    if ("audio" in order) {
      this.tell(this.queue.push(order.audio, order.mostMs));
    } else if ("mark" in order) {
      this.tell(this.queue.mark(order.mark));
    } else {
      this.tell(this.queue.clear());
    }
  }

  private tell(marks: string[]): void {
    if (marks.length > 0) {
      const report: PlaybackReport = { marks };
      this.port.postMessage(report);
    }
  }

  private measure(): void {
    for (const sample of this.step) {
      this.peak = Math.max(this.peak, Math.abs(sample));
    }
    this.played += STEP;
    if (this.played >= REPORT_SAMPLES) {
      const perMs = RATE / 1000;
      const level = {
        peak: this.peak,
        waitingMs: this.queue.waiting / perMs,
        droppedMs: this.queue.dropped / perMs,
      };
      const report: PlaybackReport = { marks: [], level };
      this.port.postMessage(report);
      this.played = 0;
      this.peak = 0;
    }
  }
}

registerProcessor(CAPTURE, CaptureProcessor);
registerProcessor(PLAYBACK, PlaybackProcessor as unknown as typeof AudioWorkletProcessor);
