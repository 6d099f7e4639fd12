"""How OpenMP's threads wait for one another; to be set before a library that brings libgomp (llama.cpp, torch) loads.

Threads that spin while they wait starve beside one busy process: decoding falls to a hundredth. Sleeping at once
(PASSIVE) cures that and halves the speed of a single sequence. To spin for a few thousand turns first, some tens of
microseconds, is as fast as to spin (two cores, a 0.5B model, 32 sequences: 118 to 126 tokens/s with 300 turns, 123 to
137 with 3,000, 122 to 132 with libgomp's 300,000) and still gives way.
"""

from __future__ import annotations

import os

VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")


def spin_briefly() -> None:
    """What the user set is left alone."""
    if not os.environ.keys() & set(VARIABLES):
        os.environ |= {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "3000"}
