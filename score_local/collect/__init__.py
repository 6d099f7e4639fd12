"""SCORE stage 1 (arXiv 2404.17140, section 4): from questions with gold answers to training data for small models.

sample -> label -> pair -> critique -> rule filter -> prompt filter -> export; `stages.py` is the order of it.
"""
