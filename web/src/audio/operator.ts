// Taking a call over: the operator's microphone to the caller, both voices to the operator.

import { type ReadonlySignal, type Signal, signal } from "@preact/signals";
import { toBase64 } from "./base64";
import { Voices } from "./listening";
import { CallMicrophone, type MicrophoneState, askForMicrophone, release } from "./microphone";
import { CLOSE_TO_NOW } from "./playout";
import { Sound, type SoundState } from "./sound";
import { type StreamEnd, StreamSocket } from "./stream_socket";

/** `refused`: somebody else has the call; `returned`: the agent has it again. */
export type TakeOverState =
  | "connecting"
  | "taken"
  | "refused"
  | "returned"
  | "over"
  | "lost";

/** One call that an operator speaks in. */
export class TakeOver {
  readonly state: Signal<TakeOverState> = signal("connecting");
  /** Who has the call or has returned it, and why, as the server says. */
  readonly by: Signal<string> = signal("");
  readonly why: Signal<string> = signal("");
  readonly microphone: ReadonlySignal<MicrophoneState>;
  readonly level: Signal<number> = signal(0);
  readonly sound: ReadonlySignal<SoundState>;
  readonly voices: Voices;
  private readonly input: CallMicrophone;
  private readonly socket: StreamSocket;

  constructor(
    stream: string,
    private readonly output: Sound,
    input: MediaStream,
  ) {
    this.sound = output.state;
    this.input = new CallMicrophone(input, output, "take-over");
    this.microphone = this.input.state;
    this.voices = new Voices(output, CLOSE_TO_NOW);
    this.socket = new StreamSocket(stream, {
      onOpen: () => this.speak(),
      onMessage: (message) => this.obey(message),
      onEnd: (end: StreamEnd) => {
        if (this.isOpen) {
          this.finish(end === "ended" ? "over" : "lost");
        }
      },
    });
  }

  /** Have the caller hear nothing of this room, or the operator again. */
  mute(muted: boolean): void {
    this.input.mute(muted);
  }

  /** Ask for a microphone again, after it was unplugged. Throws SoundError. */
  async useMicrophone(): Promise<void> {
    await this.input.replace();
  }

  /** Play on after the browser held the sound; call it in the handler of a click. */
  resume(): void {
    this.output.resume();
  }

  /** Leave the call: the server hands it back to the agent. */
  leave(): void {
    if (this.isOpen) {
      this.socket.close();
      this.finish("returned");
    }
  }

  private get isOpen(): boolean {
    return this.state.value === "connecting" || this.state.value === "taken";
  }

  private speak(): void {
    this.output.capture(({ frame, peak }) => {
      this.level.value = peak;
      if (this.state.value === "taken" && this.socket.hasRoom) {
        this.socket.send({ event: "media", payload: toBase64(frame) });
      }
    });
  }

  private obey(message: Record<string, unknown>): void {
    const event = message["event"];
    if (event === "taken" || event === "refused" || event === "returned") {
      this.by.value = String(message["by"] ?? "");
      this.why.value = String(message["why"] ?? "");
      if (event === "taken") {
        this.state.value = "taken";
      } else {
        this.socket.close();
        this.finish(event);
      }
    } else if (event === "end") {
      this.socket.close();
      this.finish("over");
    } else {
      this.voices.obey(message);
    }
  }

  private finish(state: TakeOverState): void {
    this.state.value = state;
    this.level.value = 0;
    this.input.release();
    void this.voices.close();
  }
}

/** Take a call over. Call it in the handler of a click. Throws SoundError, and what `make` does. */
export async function takeOver(make: () => Promise<{ stream: string }>): Promise<TakeOver> {
  const microphone = await askForMicrophone("take-over");
  let sound: Sound | null = null;
  try {
    sound = await Sound.open(microphone);
    return new TakeOver((await make()).stream, sound, microphone);
  } catch (error) {
    release(microphone);
    await sound?.close();
    throw error;
  }
}
