import { SoundError, microphoneError, requireSecurePage } from "./problems";

/**
 * Ask for the microphone, with the browser's own cancelling of echo and noise.
 *
 * Throws SoundError when there is none, or it is refused.
 */
export async function askForMicrophone(): Promise<MediaStream> {
  requireSecurePage();
  // Browsers that are managed by somebody else may lack it altogether.
  const devices = navigator.mediaDevices as MediaDevices | undefined;
  if (devices === undefined) {
    throw new SoundError(
      "This browser gives pages no microphone.",
      "Try another browser; or call without a microphone.",
    );
  }
  try {
    return await devices.getUserMedia({
      audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true },
    });
  } catch (error) {
    throw microphoneError(error);
  }
}

/** Give the microphone back: the browser's sign that it is in use goes out. */
export function release(microphone: MediaStream | null): void {
  for (const track of microphone?.getTracks() ?? []) {
    track.stop();
  }
}
