"""What a page plays to its loudspeaker, and whether a clip is in it."""

import base64
from typing import Final

from playwright.async_api import Page

from offhook import audio
from offhook.testing.simulator.speech.levels import is_speech

_TAP: Final = """
(() => {
  const connect = AudioNode.prototype.connect;
  const recorders = new WeakMap();
  const frames = (window.playedFrames = []);
  function recorder(context) {
    // The page has loaded this processor by now: mu-law of whatever is connected to it.
    const node = new AudioWorkletNode(context, "offhook-capture", {
      channelCount: 1,
      channelCountMode: "explicit",
      outputChannelCount: [1],
    });
    node.port.onmessage = ({ data }) => frames.push(data.frame);
    connect.call(node, context.destination);
    return node;
  }
  AudioNode.prototype.connect = function (to, ...more) {
    if (to instanceof AudioDestinationNode) {
      if (!recorders.has(to)) recorders.set(to, recorder(this.context));
      connect.call(this, recorders.get(to));
    }
    return connect.call(this, to, ...more);
  };
})();
"""

PIECE_BYTES: Final = 50 * audio.BYTES_PER_MS
"""Bytes of the pieces in which a clip is looked for: a busy machine may play it with gaps."""


class Loudspeaker:
    """What a page plays, as mu-law: whatever it connects to the sound card."""

    def __init__(self, page: Page) -> None:
        self.heard = b""
        """What was played up to the last `listen`."""
        self._page = page

    async def tap(self) -> None:
        """Have the page keep what it plays; call it before the page is opened."""
        await self._page.add_init_script(_TAP)

    async def listen(self) -> bytes:
        """Return all that the page has played so far."""
        raw = await self._page.evaluate(
            """() => {
              let all = "";
              for (const frame of playedFrames.splice(0)) all += String.fromCharCode(...frame);
              return btoa(all);
            }"""
        )
        self.heard += base64.b64decode(raw)
        return self.heard


def reached(clip: bytes, sound: bytes) -> int | None:
    """Return the place in a clip at which a sound ends, if that can be told from its last piece."""
    clip, sound = (one.replace(b"\x7f", audio.SILENCE) for one in (clip, sound))
    last = sound[-PIECE_BYTES:]
    at = clip.find(last)
    if not is_speech(last) or at < 0 or clip.find(last, at + 1) >= 0:
        return None
    return at + len(last)


def share(clip: bytes, sound: bytes) -> float:
    """Return how much of a clip's speech is in a sound, in its order: 0 to 1."""
    # A page has one zero, mu-law two.
    clip, sound = (one.replace(b"\x7f", audio.SILENCE) for one in (clip, sound))
    pieces = [clip[at : at + PIECE_BYTES] for at in range(0, len(clip), PIECE_BYTES)]
    spoken = [piece for piece in pieces if is_speech(piece)]
    at, found = 0, 0
    for piece in spoken:
        place = sound.find(piece, at)
        if place >= 0:
            at, found = place + len(piece), found + 1
    return found / len(spoken)
