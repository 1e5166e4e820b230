"""Simulated calls: legs, people who can be rung, execution of TwiML, and a log of calls."""
