// The browser's Twilio: one call, in Twilio's own messages (twilio.md §1.3, §1.4).

import { type ReadonlySignal, type Signal, signal } from "@preact/signals";
import { type Announcement, announce } from "./announcement";
import { fromBase64, toBase64 } from "./base64";
import { CallMicrophone, type MicrophoneState, askForMicrophone, release } from "./microphone";
import { AS_TWILIO } from "./playout";
import { type Playback, Sound, type SoundState } from "./sound";
import { type StreamEnd, StreamSocket } from "./stream_socket";
import type { Captured } from "./worklet_messages";

/** What the server answers when it makes a call for the browser. */
export interface OpenedCall {
  readonly account_sid: string;
  readonly call_sid: string;
  readonly stream_sid: string;
  readonly stream: string;
  /** What is said before the stream is opened. */
  readonly announcement: Announcement | null;
}

export type PhoneState = "connecting" | "live" | "over";

/** Who ended the call: this person, the other side, or a lost connection. */
export type PhoneEnd = "hung-up" | StreamEnd;

const FRAME_MS = 20;

/** One call from the browser. */
export class Phone {
  readonly state: Signal<PhoneState> = signal("connecting");
  readonly end: Signal<PhoneEnd | null> = signal(null);
  /** What the server said of the stream's end, or "". */
  readonly reason: Signal<string> = signal("");
  readonly microphone: ReadonlySignal<MicrophoneState>;
  /** Loudest sample of the last 20 ms of the microphone, of a full scale of 1. */
  readonly level: Signal<number> = signal(0);
  /** Milliseconds of the caller's voice that a slow connection left out. */
  readonly lostMs: Signal<number> = signal(0);
  readonly sound: ReadonlySignal<SoundState>;
  readonly agent: Playback;
  private readonly input: CallMicrophone;
  private readonly socket: StreamSocket;
  private sequence = 0;
  private chunks = 0;
  private clockMs = 0;
  private readonly unwatchSound: () => void;
  private readonly leave = () => this.hangUp();

  constructor(
    readonly call: OpenedCall,
    private readonly output: Sound,
    input: MediaStream | null,
  ) {
    this.sound = output.state;
    this.input = new CallMicrophone(input, output, "call");
    this.microphone = this.input.state;
    // A page that is closed or left for another one takes its call with it.
    addEventListener("pagehide", this.leave);
    this.unwatchSound = this.countHeld();
    this.agent = output.playback(AS_TWILIO, (names) => {
      for (const name of names) {
        this.send("mark", { mark: { name } });
      }
    });
    this.socket = new StreamSocket(call.stream, {
      onOpen: () => this.start(),
      onMessage: (message) => this.obey(message),
      onEnd: (end, reason) => this.finish(end, reason),
    });
  }

  /** Send one key of the keypad. */
  press(digit: string): void {
    if (this.state.value === "live") {
      this.send("dtmf", { dtmf: { track: "inbound_track", digit } });
    }
  }

  /** Have the microphone send silence, or the voice again. */
  mute(muted: boolean): void {
    this.input.mute(muted);
  }

  /** Ask for a microphone again, after it was unplugged. Throws SoundError. */
  async useMicrophone(): Promise<void> {
    await this.input.replace();
  }

  /** Play on; call it in the handler of a click. */
  resume(): void {
    this.output.resume();
  }

  /** End the call. */
  hangUp(): void {
    if (this.state.value !== "over") {
      this.send("stop", { stop: { accountSid: this.call.account_sid, callSid: this.call.call_sid } });
      this.socket.close();
      this.finish("hung-up");
    }
  }

  private start(): void {
    this.socket.send({ event: "connected", protocol: "Call", version: "1.0.0" });
    this.send("start", {
      start: {
        streamSid: this.call.stream_sid,
        accountSid: this.call.account_sid,
        callSid: this.call.call_sid,
        tracks: ["inbound"],
        mediaFormat: { encoding: "audio/x-mulaw", sampleRate: 8000, channels: 1 },
        customParameters: {},
      },
    });
    this.state.value = "live";
    this.output.capture((captured) => this.hear(captured));
  }

  private hear({ frame, peak }: Captured): void {
    if (this.state.value !== "live") {
      return;
    }
    this.level.value = peak;
    // Frames are placed by their time, so one that is left out leaves a gap (twilio.md §1.5).
    this.clockMs += FRAME_MS;
    if (!this.socket.hasRoom) {
      this.lostMs.value += FRAME_MS;
      return;
    }
    this.chunks += 1;
    this.send("media", {
      media: {
        track: "inbound",
        chunk: String(this.chunks),
        timestamp: String(this.clockMs),
        payload: toBase64(frame),
      },
    });
  }

  /** Do as the server says: media, mark and clear. Twilio ignores everything else, too. */
  private obey(message: Record<string, unknown>): void {
    const { event, media, mark } = message as {
      event?: unknown;
      media?: { payload?: unknown };
      mark?: { name?: unknown };
    };
    if (event === "media" && typeof media?.payload === "string") {
      this.agent.play(fromBase64(media.payload));
    } else if (event === "mark" && typeof mark?.name === "string") {
      this.agent.mark(mark.name);
    } else if (event === "clear") {
      this.agent.clear();
    }
  }

  private send(event: string, body: object): void {
    this.sequence += 1;
    const head = { event, sequenceNumber: String(this.sequence), streamSid: this.call.stream_sid };
    this.socket.send({ ...head, ...body });
  }

  /** Have the stream's time go on while the browser holds the sound: nothing is captured then. */
  private countHeld(): () => void {
    let since: number | null = null;
    return this.sound.subscribe((state) => {
      const now = performance.now();
      if (state === "running" && since !== null && this.chunks > 0) {
        this.clockMs += Math.round((now - since) / FRAME_MS) * FRAME_MS;
      }
      since = state === "held" ? now : null;
    });
  }

  private finish(end: PhoneEnd, reason = ""): void {
    removeEventListener("pagehide", this.leave);
    this.unwatchSound();
    this.state.value = "over";
    this.end.value = end;
    this.reason.value = reason;
    this.level.value = 0;
    this.input.release();
    void this.output.close();
  }
}

/**
 * Call an agent: ask for the microphone, have the server make the call, say its announcement, and
 * connect.
 *
 * Call it in the handler of a click. `make` is asked last, since the stream waits a few seconds
 * only. Throws SoundError, what `make` throws, and the reason of `signal`, which gives microphone and
 * sound back at any moment before the call.
 */
export async function connectPhone(
  make: () => Promise<OpenedCall>,
  options: { readonly withMicrophone: boolean; readonly signal: AbortSignal },
): Promise<Phone> {
  const { withMicrophone, signal } = options;
  const microphone = withMicrophone ? await askForMicrophone("call", signal) : null;
  const giveBack = () => release(microphone); // at once, whatever is waited for
  signal.addEventListener("abort", giveBack);
  let sound: Sound | null = null;
  try {
    sound = await Sound.open(microphone);
    signal.throwIfAborted();
    const call = await make();
    signal.throwIfAborted();
    if (call.announcement !== null) await announce(call.announcement, signal);
    signal.throwIfAborted();
    return new Phone(call, sound, microphone);
  } catch (error) {
    release(microphone);
    await sound?.close();
    throw error;
  } finally {
    signal.removeEventListener("abort", giveBack);
  }
}
