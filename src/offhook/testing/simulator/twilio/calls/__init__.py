"""Simulated calls: legs, the people who are rung, what TwiML does to them, and who was rung."""
