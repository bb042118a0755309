"""
The release gate for small fine-tuned language models: ``pytest --model candidate.gguf``.

PYTEST_DONT_REWRITE: no module here is a test, and pytest warns of modules that it finds imported already.
"""
