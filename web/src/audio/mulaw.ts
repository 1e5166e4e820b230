// G.711 mu-law, the one audio format of a call (twilio.md §1.5): the same codes as
// src/offhook/audio.py, which tests/console/test_audio.py compares for every sample.

/** Samples a second, and bytes a second, of a call's audio. */
export const RATE = 8000;

/** Samples in a frame of 20 ms, the length that Twilio sends. */
export const FRAME_SAMPLES = 160;

/** The code of a sample of silence. */
export const SILENCE = 0xff;

/** Return a sample, of a full scale of 1, as a mu-law code; a louder one is clipped. */
export function encode(sample: number): number {
  const linear = Math.round(Math.max(-1, Math.min(1, sample)) * 32767);
  // Table 2a of G.711: magnitudes of 14 bits, shifted by 33 so that each segment ends at a power of
  // two; the bits after the leading one are the step inside the segment. Sent inverted.
  const magnitude = Math.min(Math.abs(linear) >> 2, 8158) + 33;
  const segment = 26 - Math.clz32(magnitude);
  const code = (segment << 4) | ((magnitude >> (segment + 1)) & 0x0f);
  return code ^ (linear < 0 ? 0x7f : 0xff);
}

/** Samples of every mu-law code, of a full scale of 1. */
export const DECODED: Float32Array = Float32Array.from({ length: 256 }, (_, code) => {
  const plain = ~code & 0xff;
  const segment = (plain >> 4) & 7;
  const magnitude = (((((plain & 0x0f) << 1) | 33) << segment) - 33) * 4;
  return (plain & 0x80 ? -magnitude : magnitude) / 32768;
});
