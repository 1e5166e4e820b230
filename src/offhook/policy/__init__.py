"""Which numbers may be dialled, how often, at what cost."""
