"""Who doubts a solution: one file a verifier, each a generator like the loop itself."""

from __future__ import annotations

from functools import cache
from importlib import resources

from score_local import prompts
from score_local.roles import Role


@cache
def prompts_fingerprint() -> str:
    """SHA-256 over all that a run asks its models: a run is resumed only with the prompts it began with."""
    own = resources.files(__package__)
    return prompts.hash_of(resources.files(prompts), own / "program_prompt", own / "model_prompt")


def prompts_of(role: Role) -> str:
    """SHA-256 over the prompts that an adapter of a role is trained with."""
    return program_prompts() if role == "programmer" else prompts.fingerprint()


@cache
def program_prompts() -> str:
    """SHA-256 over the prompts that ask for a program."""
    return prompts.hash_of(resources.files(__package__) / "program_prompt")
