"""The problem files that ship with score-local; read through `importlib.resources`."""
