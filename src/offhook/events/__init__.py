"""What happens in a call, and who is told."""
