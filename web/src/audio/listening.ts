// Listening to a live call: both voices, and no microphone.

import { type ReadonlySignal, type Signal, effect, signal } from "@preact/signals";
import { fromBase64 } from "./base64";
import { AS_TWILIO, GATHERED, type PlayoutRules } from "./playout";
import { type Playback, Sound, type SoundState } from "./sound";
import { type StreamEnd, StreamSocket } from "./stream_socket";

/** `refused`: as `why` says; `over`: the call has ended; `lost`: the connection has. */
export type ListeningState = "connecting" | "live" | "refused" | "over" | "lost" | "stopped";

/** Both voices of a call to the loudspeaker. */
export class Voices {
  /** The caller's voice comes as it is spoken. */
  readonly caller: Playback;
  /** The agent's comes faster than it is heard, and is thrown away by `clear`. */
  readonly agent: Playback;
  private readonly stop: () => void;

  /** Play both by the rules of a voice that comes as it is spoken. */
  constructor(
    private readonly output: Sound,
    rules: PlayoutRules,
  ) {
    this.caller = output.playback(rules);
    this.agent = output.playback({ ...AS_TWILIO, startMs: rules.startMs });
    let before: SoundState = output.state.value;
    this.stop = effect(() => {
      const now = output.state.value;
      if (before === "held" && now === "running") {
        // What came in the meantime is the past: whoever listens wants to hear now.
        this.agent.clear();
        this.caller.clear();
      }
      before = now;
    });
  }

  /** Play what the server sends of the call. */
  obey(message: Record<string, unknown>): void {
    if (message["event"] === "media" && typeof message["payload"] === "string") {
      const voice = message["track"] === "agent" ? this.agent : this.caller;
      voice.play(fromBase64(message["payload"]));
    } else if (message["event"] === "clear") {
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
