"""What an engine is (`protocol`), and the engines: `llama` (in-process, batched) and `scripted` (for tests)."""
