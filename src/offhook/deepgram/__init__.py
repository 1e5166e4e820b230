"""Deepgram's side of a call: the Voice Agent's messages, Settings and socket."""
