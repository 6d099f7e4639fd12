"""SCORE stage 2 (arXiv 2404.17140, section 4): LoRA adapters for solver, verifier and refiner, from collected examples.

Read `training.py` first: it is the loop. This is a door to torch, transformers, peft and bitsandbytes.
"""
