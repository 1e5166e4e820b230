// Conversion between the rate of a call and the rate at which a sound card runs: 44.1 kHz, 48 kHz
// and whatever else there is. A low-pass keeps out what the lower rate cannot hold: it would come
// back as a whistle that speech recognition takes for speech.

/** Cut-off of the low-pass, in parts of the lower rate: 3680 Hz for a call's 8000. */
const CUTOFF = 0.46;

/** Zero crossings of the filter on each side: the transition is about 500 Hz wide. */
const CROSSINGS = 24;

/** Shape of the Kaiser window: what lies beyond the transition is 60 dB quieter. */
const BETA = 6;

/** A stream of samples at one rate, made into one at another rate. */
export class Resampler {
  private readonly up: number;
  private readonly down: number;
  private readonly taps: number;
  /** Coefficients: for each phase, `taps` of them, the newest sample's first. */
  private readonly filter: Float32Array;
  /** The last `taps` - 1 samples of what came before. */
  private before: Float32Array;
  /** Place of the next output: a sample of the coming input, and a phase after it. */
  private index = 0;
  private phase = 0;

  /** Both rates are whole numbers of samples a second. */
  constructor(from: number, to: number) {
    const common = divisor(from, to);
    this.up = to / common;
    this.down = from / common;
    const cutoff = (CUTOFF * Math.min(from, to)) / from;
    this.taps = from === to ? 1 : 2 * Math.ceil(CROSSINGS / (2 * cutoff));
    this.filter = from === to ? Float32Array.of(1) : lowPass(this.taps, this.up, cutoff);
    this.before = new Float32Array(this.taps - 1);
  }

  /** Return what the next samples come to at the other rate. */
  push(input: Float32Array): Float32Array {
    if (this.up === this.down) {
      return input;
    }
    const { up, down, taps, filter } = this;
    const all = new Float32Array(taps - 1 + input.length);
    all.set(this.before);
    all.set(input, taps - 1);
    const size = Math.max(0, Math.ceil(((input.length - this.index) * up - this.phase) / down));
    const output = new Float32Array(size);
    let { index, phase } = this;
    for (let at = 0; at < size; at++) {
      let sum = 0;
      const first = phase * taps;
      const newest = index + taps - 1;
      for (let tap = 0; tap < taps; tap++) {
        sum += filter[first + tap]! * all[newest - tap]!;
      }
      output[at] = sum;
      phase += down;
      index += Math.floor(phase / up);
      phase %= up;
    }
    this.index = index - input.length;
    this.phase = phase;
    this.before = all.slice(input.length);
    return output;
  }
}

/** Return the coefficients of a low-pass; `cutoff` is in parts of the rate of the input. */
function lowPass(taps: number, phases: number, cutoff: number): Float32Array {
  const filter = new Float32Array(taps * phases);
  const middle = (taps * phases - 1) / 2;
  for (let phase = 0; phase < phases; phase++) {
    let sum = 0;
    for (let tap = 0; tap < taps; tap++) {
      const from = tap * phases + phase - middle;
      const angle = (2 * Math.PI * cutoff * from) / phases;
      const value = (angle === 0 ? 1 : Math.sin(angle) / angle) * kaiser(from / middle);
      filter[phase * taps + tap] = value;
      sum += value;
    }
    // Every phase passes an even signal alike; else the phases would be heard as a tone.
    for (let tap = 0; tap < taps; tap++) {
      filter[phase * taps + tap]! /= sum;
    }
  }
  return filter;
}

/** Return the Kaiser window at a place from -1 to 1. */
function kaiser(place: number): number {
  return bessel(BETA * Math.sqrt(Math.max(0, 1 - place * place))) / bessel(BETA);
}

/** Return the modified Bessel function of the first kind, of order 0. */
function bessel(x: number): number {
  let sum = 1;
  let term = 1;
  for (let n = 1; term > 1e-9 * sum; n++) {
    term *= (x / (2 * n)) ** 2;
    sum += term;
  }
  return sum;
}

function divisor(a: number, b: number): number {
  return b === 0 ? a : divisor(b, a % b);
}
