"""
Answer requests one by one with llama-cpp-python's own chat completion, as most people run their cases today.

    python benchmarks/peers/llama_cpp_python.py requests.json

prints ``{"seconds", "answers"}``. The file holds ``{"model", "n_ctx", "threads", "max_tokens", "requests"}``, of which each is a
list of messages. Its cache of the last prompt's prefix is on, as by default.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any


def main() -> int:
    """Answer all requests and print how long it took."""
    from llama_cpp import Llama

    asked: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    model = Llama(
        asked["model"],
        n_ctx=asked["n_ctx"],
        n_threads=asked["threads"],
        n_threads_batch=asked["threads"],
        verbose=False,
    )
    limits = {"temperature": 0.0, "max_tokens": asked["max_tokens"]}
    model.create_chat_completion(asked["requests"][0], **limits)  # warm
    model.reset()
    started = time.perf_counter()
    answers = [
        model.create_chat_completion(messages, **limits)["choices"][0]["message"]["content"]
        for messages in asked["requests"]
    ]
    print(json.dumps({"seconds": time.perf_counter() - started, "answers": answers}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
