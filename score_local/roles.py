"""What an adapter can make of the model."""

from __future__ import annotations

from typing import Literal, get_args

Role = Literal["solver", "verifier", "refiner", "programmer"]
ROLES: tuple[Role, ...] = get_args(Role)
TO_THE_QUESTION: tuple[Role, ...] = ("solver", "programmer")  # whose reply follows the question itself
