"""The release gate for small fine-tuned language models: ``pytest --model candidate.gguf``."""
