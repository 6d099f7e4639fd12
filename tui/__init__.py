"""The terminal app's place."""
