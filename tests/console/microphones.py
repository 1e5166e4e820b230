"""Scripts that have Chromium's microphone do what a person, or its plug, does.

`late`: it is asked for until the test calls each of `allow`; `refused`: it is not allowed.
`unplug()` ends the last one. `unreleased` counts the tracks that the page has not given back.
"""

from typing import Final

MICROPHONES: Final = """
{
  const devices = navigator.mediaDevices, ask = devices.getUserMedia.bind(devices);
  window.allow = [];
  window.tracks = [];
  devices.getUserMedia = async (wanted) => {
    if (window.refused) throw new DOMException("", "NotAllowedError");
    if (window.late) await new Promise((allow) => window.allow.push(allow));
    const stream = await ask(wanted);
    window.tracks.push(...stream.getTracks());
    return stream;
  };
  window.unplug = () => {
    // A page's own stop() is no event, and nothing else can end Chromium's fake device.
    tracks.at(-1).stop();
    tracks.at(-1).dispatchEvent(new Event("ended"));
  };
  Object.defineProperty(window, "unreleased", {
    get: () => window.tracks.filter((track) => track.readyState === "live").length,
  });
}
"""

CONTEXTS: Final = """
{
  const contexts = (window.contexts = []);
  window.AudioContext = class extends AudioContext {
    constructor(options) {
      super(options);
      contexts.push(this);
    }
  };
}
"""
"""Keeps the page's `contexts`, of which the test suspends one as a browser does."""

HIDE: Final = """(hidden) => {
  // Chromium without a window calls every page visible: what a page is told is said to it.
  const said = { hidden, visibilityState: hidden ? "hidden" : "visible" };
  for (const name in said) {
    Object.defineProperty(document, name, { get: () => said[name], configurable: true });
  }
  document.dispatchEvent(new Event("visibilitychange"));
}"""
"""Has the page be behind another tab, or before it again."""
