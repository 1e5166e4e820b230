"""People who use the operator's side: who they are, what they may do, how they sign in."""
