"""The convert tool's place: an adapter in, a proven GGUF out."""
