"""Fault rig: a proxy on loopback that damages what passes between two ends, on purpose."""
