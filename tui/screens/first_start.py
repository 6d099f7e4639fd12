"""The first start: no model has been chosen, or none is here. What there is, and what can be pulled."""

from __future__ import annotations

from tui.screens.models import ModelsScreen

INTRODUCTION = """\
score-local needs a model: a GGUF file, which then runs on this machine, offline. \
SmolLM2 135M is embedded where it was installed with score-local. It shows that everything works, and is too small for \
grade-school mathematics.

Any other is pulled only when you say yes. A GGUF of your own: score-local chat --model FILE"""


class FirstStartScreen(ModelsScreen):
    """A model picker with a word of welcome. None: the person goes on without a model."""

    HEADING = "Welcome to score-local"
    INTRODUCTION = INTRODUCTION
