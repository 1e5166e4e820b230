"""The built audio thread of the console, run in a page without a sound card, at any speed."""

import base64
from pathlib import Path
from typing import Any

import numpy
from playwright.async_api import Page
from tests.console.console_server import BUILT

AS_TWILIO = {"startMs": 60, "mostMs": 600_000, "drop": "newest"}
CLOSE_TO_NOW = {"startMs": 60, "mostMs": 300, "drop": "oldest"}

_DRIVER = """
window.made = {};
window.AudioWorkletProcessor = class {
  constructor() {
    this.told = [];
    this.port = { postMessage: (message) => this.told.push(message), onmessage: null };
  }
};
window.registerProcessor = (name, processor) => { made[name] = processor; };
const bytes = (text) => Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
const text = (raw) => {
  let all = "";
  for (const one of raw) all += String.fromCharCode(one);
  return btoa(all);
};
window.capture = ({ rate, samples }) => {
  window.sampleRate = rate;
  const processor = new made["offhook-capture"]();
  const input = new Float32Array(bytes(samples).buffer);
  for (let at = 0; at < input.length; at += 128) {
    const block = new Float32Array(128);
    block.set(input.subarray(at, at + 128));
    processor.process([[block]], [[new Float32Array(128)]]);
  }
  return text(processor.told.flatMap(({ frame }) => [...frame]));
};
window.play = ({ rate, rules, steps }) => {
  window.sampleRate = rate;
  const processor = new made["offhook-playback"]({ processorOptions: { rules } });
  const played = [];
  const marks = [];
  for (const step of steps) {
    if (step.blocks === undefined) {
      const order = step.audio === undefined ? step : { audio: bytes(step.audio) };
      processor.port.onmessage({ data: order });
    }
    for (let n = 0; n < (step.blocks ?? 0); n++) {
      const output = new Float32Array(128);
      processor.process([], [[output]]);
      played.push(...output);
    }
    for (const { marks: names } of processor.told.splice(0)) {
      for (const name of names) marks.push([name, played.length]);
    }
  }
  return { played: text(new Uint8Array(Float32Array.from(played).buffer)), marks };
};
"""


def worklet() -> Path:
    """Return the built file of the audio thread."""
    (found,) = BUILT.parent.glob("assets/worklet-*.js")
    return found


class AudioThread:
    """The processors of the built file, at any rate."""

    def __init__(self, page: Page) -> None:
        self._page = page

    async def load(self) -> None:
        """Load the file into the page."""
        await self._page.evaluate(f"() => {{ {_DRIVER} }}")
        await self._page.add_script_tag(path=worklet())

    async def capture(self, rate: int, samples: Any) -> bytes:
        """Return the mu-law that the microphone's side makes of samples of a full scale of 1."""
        raw = numpy.asarray(samples, numpy.float32).tobytes()
        given = {"rate": rate, "samples": base64.b64encode(raw).decode()}
        return base64.b64decode(await self._page.evaluate("(given) => capture(given)", given))

    async def play(
        self, rate: int, rules: dict[str, Any], *steps: bytes | str | int | None
    ) -> tuple[Any, list[tuple[str, int]]]:
        """Return the samples that are played, and each mark with the sample at which it came back.

        A step is audio, the name of a mark, None for `clear`, or a number of blocks of 128 samples
        that the sound card asks for.
        """
        given = {"rate": rate, "rules": rules, "steps": [_step(one) for one in steps]}
        answer = await self._page.evaluate("(given) => play(given)", given)
        played = numpy.frombuffer(base64.b64decode(answer["played"]), numpy.float32)
        return played, [(name, at) for name, at in answer["marks"]]


def _step(one: bytes | str | int | None) -> dict[str, Any]:
    match one:
        case bytes():
            return {"audio": base64.b64encode(one).decode()}
        case str():
            return {"mark": one}
        case None:
            return {"clear": True}
        case _:
            return {"blocks": one}
