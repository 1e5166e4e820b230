"""Recordings: what was said and heard in a call, as a stereo WAV file that grows with it."""
