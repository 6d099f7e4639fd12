"""score-local: solve, doubt and repair problems with a small quantised model, offline (SCORE at the edge)."""

__version__ = "0.1.0"
