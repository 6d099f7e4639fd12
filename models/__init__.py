"""The model catalogue and the shipped adapters, read through `importlib.resources`; downloads never land here."""
