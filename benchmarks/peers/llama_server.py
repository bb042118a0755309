"""
Answer requests with llama-server, as many at a time as it has slots; its prompt cache is on.

    python benchmarks/peers/llama_server.py requests.json SLOTS

prints ``{"seconds", "answers"}``. The server is the one that the wheel of xllamacpp carries. It runs in this process and is
asked over HTTP, as by any client.
"""

from __future__ import annotations

import json
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any


def main() -> int:
    """Start the server, answer all requests and print how long it took."""
    import xllamacpp

    asked: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    slots = int(sys.argv[2])
    params = xllamacpp.CommonParams()
    params.model.path = asked["model"]
    params.n_ctx = asked["n_ctx"] * slots
    params.n_parallel = slots
    params.n_batch, params.n_ubatch = 2048, 512
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = asked["threads"]
    params.warmup = True
    params.cont_batching = True
    server = xllamacpp.Server(params)
    url = f"{server.listening_address}/v1/chat/completions"

    def answer(messages: list[dict[str, str]]) -> str:
        body = {
            "messages": messages,
            "temperature": 0.0,
            "max_tokens": asked["max_tokens"],
            "cache_prompt": True,
        }
        request = urllib.request.Request(  # noqa: S310  # our own server
            url, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=600) as response:  # noqa: S310  # our own server
            return str(json.load(response)["choices"][0]["message"]["content"])

    answer(asked["requests"][0])
    started = time.perf_counter()
    with ThreadPoolExecutor(slots) as pool:
        answers = list(pool.map(answer, asked["requests"]))
    print(json.dumps({"seconds": time.perf_counter() - started, "answers": answers}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
