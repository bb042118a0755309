"""
Answer requests with lm-evaluation-harness, which asks an OpenAI-compatible server one at a time.

    python benchmarks/peers/lm_evaluation_harness.py requests.json http://127.0.0.1:PORT

prints ``{"seconds", "answers"}``: of the evaluation itself, without the harness's own start. The server is llama-cpp-python's, started by
whoever calls this.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

TASK = """\
task: modelgate_bench
dataset_path: json
dataset_kwargs:
  data_files: {{"test": "{data}"}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{asked}}}}"
doc_to_target: "{{{{answer}}}}"
description: {system}
generation_kwargs:
  until: []
  max_gen_toks: {max_tokens}
  do_sample: false
  temperature: 0.0
metric_list:
  - metric: exact_match
"""


def main() -> int:
    """Evaluate all requests and print how long it took."""
    import lm_eval
    from lm_eval.tasks import TaskManager

    asked: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data.jsonl"
        rows = [
            {"asked": messages[-1]["content"], "answer": answer}
            for messages, answer in zip(asked["requests"], asked["answers"], strict=True)
        ]
        data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        system = asked["requests"][0][0]["content"]
        task = TASK.format(data=data, system=json.dumps(""), max_tokens=asked["max_tokens"])
        (Path(folder) / "modelgate_bench.yaml").write_text(task, encoding="utf-8")
        manager = TaskManager(include_path=folder)
        model = {
            "base_url": f"{sys.argv[2]}/v1/chat/completions",
            "model": "bench",
            "num_concurrent": 1,
            "max_retries": 1,
        }
        started = time.perf_counter()
        found = lm_eval.simple_evaluate(
            model="local-chat-completions",
            model_args=model,
            tasks=["modelgate_bench"],
            task_manager=manager,
            system_instruction=system,
            apply_chat_template=True,
            bootstrap_iters=0,
            log_samples=True,
        )
        seconds = time.perf_counter() - started
    samples = sorted(found["samples"]["modelgate_bench"], key=lambda sample: sample["doc_id"])
    answers = [sample["resps"][0][0] for sample in samples]
    print(json.dumps({"seconds": seconds, "answers": answers}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
