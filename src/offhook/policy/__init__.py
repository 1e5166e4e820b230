"""The dial policy: which numbers may be dialled, how often, at what cost."""
