// Listening to a live call: both voices, and no microphone.

import { type ReadonlySignal, type Signal, effect, signal } from "@preact/signals";
import { fromBase64 } from "./base64";
import { RATE } from "./mulaw";
import { GATHERED, IN_STEP, type PlayoutRules } from "./playout";
import { type Playback, Sound, type SoundState } from "./sound";
import { type StreamEnd, StreamSocket } from "./stream_socket";

/** `refused`: as `why` says; `over`: the call has ended; `lost`: the connection has. */
export type ListeningState = "connecting" | "live" | "refused" | "over" | "lost" | "stopped";

/** Milliseconds by which the agent's voice may be later here than a network without pauses would have it. */
const LATE_MAX_MS = 280;

/** Milliseconds that the shortest delay known is taken to have grown since the last message. */
const DRIFT_MS = 1;

/**
 * When the caller hears the agent, by the clock of this page: the agent's voice comes faster than it
 * is heard, so how much of it waits here does not tell whether it is late.
 */
class AgentTimes {
  /** Shortest delay of a message, from its time in the call to its arrival by the page's clock. */
  private delayMs = Number.POSITIVE_INFINITY;
  private endsMs = 0;

  /** Return what a time in the call, of a message that has just come, is on the page's clock. */
  here(callMs: unknown): number {
    const now = performance.now();
    if (typeof callMs !== "number") return now;
    // Two clocks drift apart, and a network may become slower.
    this.delayMs = Math.min(now - callMs, this.delayMs + DRIFT_MS);
    return callMs + this.delayMs;
  }

  /** Take note of audio that came: it is heard at its time, or after what was sent before. */
  add(hereMs: number, samples: number): void {
    this.endsMs = Math.max(this.endsMs, hereMs) + (samples * 1000) / RATE;
  }

  /** Take note that the rest is thrown away. */
  clear(): void {
    this.endsMs = 0;
  }

  /** Milliseconds that the caller has not heard of what came. */
  get unheardMs(): number {
    return Math.max(0, this.endsMs - performance.now());
  }
}

/** Both voices of a call to the loudspeaker. */
export class Voices {
  /** The caller's voice comes as it is spoken. */
  readonly caller: Playback;
  /** The agent's comes faster than it is heard, and is thrown away by `clear`. */
  readonly agent: Playback;
  private readonly agentTimes = new AgentTimes();
  private readonly stop: () => void;

  /** Play the caller by rules of a voice that comes as it is spoken, and the agent in step with it. */
  constructor(
    private readonly output: Sound,
    rules: PlayoutRules,
  ) {
    this.caller = output.playback(rules);
    this.agent = output.playback(IN_STEP);
    let before: SoundState = output.state.value;
    this.stop = effect(() => {
      const now = output.state.value;
      if (before === "held" && now === "running") {
        // What was said in the meantime is the past: whoever listens wants to hear now.
        this.agent.play(new Uint8Array(0), this.agentTimes.unheardMs);
        this.caller.clear();
      }
      before = now;
    });
  }

  /** Play what the server sends of the call. */
  obey(message: Record<string, unknown>): void {
    if (message["event"] === "media" && typeof message["payload"] === "string") {
      const audio = fromBase64(message["payload"]);
      const hereMs = this.agentTimes.here(message["ms"]);
      if (message["track"] === "agent") {
        this.agentTimes.add(hereMs, audio.length);
        this.agent.play(audio, this.agentTimes.unheardMs + LATE_MAX_MS);
      } else {
        this.caller.play(audio);
      }
    } else if (message["event"] === "clear") {
      this.agentTimes.clear();
      this.agent.clear();
    }
  }

  async close(): Promise<void> {
    this.stop();
    await this.output.close();
  }
}

/** A person who listens to a live call. */
export class Listening {
  readonly state: Signal<ListeningState> = signal("connecting");
  /** Why it was refused, as the server says. */
  readonly why: Signal<string> = signal("");
  readonly sound: ReadonlySignal<SoundState>;
  readonly voices: Voices;
  private readonly socket: StreamSocket;

  constructor(
    stream: string,
    private readonly output: Sound,
  ) {
    this.sound = output.state;
    this.voices = new Voices(output, GATHERED);
    this.socket = new StreamSocket(stream, {
      onOpen: () => {
        this.state.value = "live";
      },
      onMessage: (message) => {
        if (message["event"] === "refused" || message["event"] === "end") {
          this.why.value = String(message["why"] ?? "");
          this.socket.close();
          this.finish(message["event"] === "end" ? "over" : "refused");
        } else {
          this.voices.obey(message);
        }
      },
      onEnd: (end: StreamEnd) => this.finish(end === "ended" ? "over" : "lost"),
    });
  }

  /** Play on after the browser held the sound; call it in the handler of a click. */
  resume(): void {
    this.output.resume();
  }

  /** Stop listening. */
  stop(): void {
    if (this.state.value === "connecting" || this.state.value === "live") {
      this.socket.close();
      this.finish("stopped");
    }
  }

  private finish(state: ListeningState): void {
    this.state.value = state;
    void this.voices.close();
  }
}

/** Listen to a call. Call it in the handler of a click. Throws SoundError, and what `make` does. */
export async function listenTo(make: () => Promise<{ stream: string }>): Promise<Listening> {
  const sound = await Sound.open(null);
  try {
    return new Listening((await make()).stream, sound);
  } catch (error) {
    await sound.close();
    throw error;
  }
}
