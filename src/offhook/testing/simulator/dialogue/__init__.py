"""A conversation without a model: what may be said, what it means, and what is answered."""
