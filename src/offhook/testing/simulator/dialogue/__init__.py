"""Conversation without a model: permitted phrases, their meanings, and answers to them."""
