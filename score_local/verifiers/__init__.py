"""Verifiers: one file each; every one says how likely an attempt is wrong, or that it cannot tell."""
