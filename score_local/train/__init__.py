"""SCORE stage 2 (arXiv 2404.17140, section 4): LoRA adapters for solver, verifier and refiner, from collected examples.

Read `training.py` first: it is the loop. This is a door to torch, transformers, peft and bitsandbytes.
"""

import logging

# As it is imported, bitsandbytes tells of a kernel that it has not got for 4 bits on a CPU, where none are used here.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
