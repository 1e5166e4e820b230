import { type Signal, signal } from "@preact/signals";
import { type MicrophoneUse, microphoneError, requireSecurePage } from "./problems";
import type { Sound } from "./sound";

/** `gone`: it was unplugged, or the system took it back. */
export type MicrophoneState = "on" | "muted" | "none" | "gone";

/**
 * Ask for the microphone, with the browser's own cancelling of echo and noise.
 *
 * Throws SoundError when there is none, or it is refused; and the reason of `signal`. The browser's
 * question cannot be taken back: a microphone that is allowed later is given back at once.
 */
export async function askForMicrophone(use: MicrophoneUse, signal?: AbortSignal): Promise<MediaStream> {
  requireSecurePage();
  // Browsers that are managed by somebody else may lack it altogether.
  const devices = navigator.mediaDevices as MediaDevices | undefined;
  if (devices === undefined) throw microphoneError(null, use);
  const asked = devices.getUserMedia({
    audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true },
  });
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal?.reason as unknown);
    signal?.addEventListener("abort", onAbort, { once: true });
    asked.then(
      (microphone) => {
        signal?.removeEventListener("abort", onAbort);
        if (signal?.aborted) release(microphone);
        else resolve(microphone);
      },
      (error: unknown) => reject(microphoneError(error, use)),
    );
  });
}

/** Give the microphone back: the browser's sign that it is in use goes out. */
export function release(microphone: MediaStream | null): void {
  for (const track of microphone?.getTracks() ?? []) {
    track.stop();
  }
}

/** The microphone of one call: it may be muted, unplugged, and replaced. */
export class CallMicrophone {
  readonly state: Signal<MicrophoneState>;
  private isOver = false;

  constructor(
    private input: MediaStream | null,
    private readonly output: Sound,
    private readonly use: MicrophoneUse,
  ) {
    this.state = signal(input === null ? "none" : "on");
    this.watch();
  }

  /** Have it send silence, or the voice again. */
  mute(muted: boolean): void {
    if (this.input !== null && this.state.value !== "gone") {
      for (const track of this.input.getTracks()) {
        track.enabled = !muted;
      }
      this.state.value = muted ? "muted" : "on";
    }
  }

  /** Ask for one, also after it was unplugged. Throws SoundError. */
  async replace(): Promise<void> {
    const microphone = await askForMicrophone(this.use);
    if (this.isOver) {
      release(microphone);
      return;
    }
    release(this.input);
    this.input = microphone;
    this.output.connect(microphone);
    this.state.value = "on";
    this.watch();
  }

  /** Give it back: the call is over. */
  release(): void {
    this.isOver = true;
    release(this.input);
  }

  private watch(): void {
    const watched = this.input;
    for (const track of watched?.getTracks() ?? []) {
      track.addEventListener("ended", () => {
        if (!this.isOver && this.input === watched) this.state.value = "gone";
      });
    }
  }
}
