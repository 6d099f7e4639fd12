"""Who doubts a solution: one file a verifier, each a generator like the loop itself."""
