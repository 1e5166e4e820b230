"""Recordings of calls: both sides as a stereo WAV file that grows during the call."""
