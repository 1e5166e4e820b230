"""Speech to text and text to speech without an account, by open source engines in processes."""
