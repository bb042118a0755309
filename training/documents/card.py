"""
Write the model card: what the candidate is for, what it was made of, how it was judged, what it costs.

Every number comes from the manifest, that is from something measured or set; what was not measured says so. Texts that
rows, models or files bring along are made inert. The header is the one that the Hugging Face Hub reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pytest_modelgate.report.escape import code, markdown, plain

from ..run_folder import RunFolder
from .judged import evaluation_lines, gate_lines, limit_lines, speed_lines, verdict_lines
from .tables import NOT_MEASURED, counted, megabytes, number, table

NOT_STATED = "not stated"

_TASK_RULES = (
    *("kind", "fields", "primary", "schema", "pydantic", "sections", "tools", "rubric", "critical_fields", "unsafe"),
    *("system", "prompt", "long_input"),
)


def build_card(run: RunFolder, manifest: Mapping[str, Any], manifest_sha256: str) -> str:
    """Return the text of the card; ``manifest``: as it will be written, ``manifest_sha256`` of its text."""
    from huggingface_hub import ModelCard

    sections: dict[str, Iterable[str]] = {
        "What it is for": [_stated(run.config.card.goal)],
        "Output contract": _contract_lines(manifest),
        "Out of scope": [_stated(run.config.card.out_of_scope)],
        "Training data": _data_lines(manifest),
        "Training": _training_lines(run, manifest),
        "Evaluation": [*evaluation_lines(manifest), *gate_lines(manifest)],
        "Latency and memory": speed_lines(manifest),
        "Cost": _cost_lines(manifest),
        "Files": _file_lines(manifest),
        "Limits": [_stated(run.config.card.limits), "", *limit_lines(manifest)],
        "How to run it": _usage_lines(run),
        "How to make it again": _again_lines(run, manifest, manifest_sha256),
    }
    lines = [f"# {markdown(_title(run))}", "", *verdict_lines(manifest), ""]
    for title, section in sections.items():
        lines += [f"## {title}", "", *section, ""]
    return str(ModelCard(f"---\n{_metadata(run, manifest).to_yaml()}\n---\n\n" + "\n".join(lines)))


def _metadata(run: RunFolder, manifest: Mapping[str, Any]) -> Any:
    """Return the header."""
    from huggingface_hub import ModelCardData

    card, base = run.config.card, run.config.base
    is_on_hub = base.path is not None and run.local_base is None
    results = list(_results(manifest))
    return ModelCardData(
        model_name=plain(_title(run), 200),
        license=card.licence,
        language=list(card.language) or None,
        base_model=base.path if is_on_hub else None,
        library_name="peft",
        pipeline_tag="text-generation",
        tags=["lora", "gguf", "pytest-modelgate"],
        eval_results=results or None,
    )


def _results(manifest: Mapping[str, Any]) -> Iterator[Any]:
    """Yield what was measured of the judged targets, as the Hub lists it."""
    from huggingface_hub import EvalResult

    evaluation = manifest["evaluation"] or {"targets": {}}
    for name, target in evaluation["targets"].items():
        if target["role"] != "model":
            continue
        for task, figure in target["figures"].items():
            for suite in ("golden", "heldout"):
                if figure[suite] is not None:
                    yield EvalResult(
                        task_type="text-generation",
                        dataset_type=suite,
                        dataset_name=f"{suite} cases of {task}, n = {figure['n'][suite]}",
                        dataset_config=task,
                        metric_type=figure["metric"],
                        metric_value=figure[suite],
                        metric_name=f"{figure['metric']} of {name}",
                    )


def _title(run: RunFolder) -> str:
    """Return the model's name."""
    return run.config.card.title or run.config.export.name


def _stated(text: str | None) -> str:
    """Return what the configuration says, or that it says nothing."""
    return markdown(text) if text else NOT_STATED


# --- What it was made of -----------------------------------------------------------------------------------------


def _contract_lines(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the gates file asks of each task's output."""
    for task, rules in manifest["tasks"].items():
        yield f"- {code(task)}: {markdown(str(rules.get('kind')))}"
        for name in _TASK_RULES[1:]:
            value = rules.get(name) or rules.get(f"{name}_")
            if value:
                yield f"  - {name.replace('_', ' ')}: {_listed(value)}"


def _listed(value: Any) -> str:
    """Return a setting of a task in words."""
    if isinstance(value, list):
        return ", ".join(_listed(one) for one in value)
    if isinstance(value, dict):
        given = {key: one for key, one in value.items() if one not in (None, False, [], {})}
        return " ".join(f"{markdown(str(key))} {_listed(one)}" for key, one in given.items())
    return code(str(value))


def _data_lines(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the rows are and what was done to them."""
    data = manifest["data"]
    yield f"Data set version {code(data['version']) if data['version'] else NOT_MEASURED}."
    yield ""
    yield from table(("rows", "number"), [(_words(name), counted(n)) for name, n in data.get("counts", {}).items()])
    mode = data.get("masked", {})
    for title, found in (
        ("kind of example", data.get("kinds")),
        ("licence", data.get("licences")),
        ("rejected by gate", data.get("rejected")),
        ("masked", mode.get("kinds")),
    ):
        rows = [(markdown(_words(name)), counted(n)) for name, n in (found or {}).items() if n]
        if rows:
            yield ""
            yield from table((title, "number"), rows)
    yield ""
    if mode:
        why = f" ({markdown(mode['reason'])})" if mode.get("reason") else ""
        yield f"Secrets and personal data: {markdown(str(mode['mode']))}{why}; {counted(mode['rows'])} rows held some."
    files = ", ".join(code(one["file"]) for one in data["train"])
    yield f"Files: {files}."


def _training_lines(run: RunFolder, manifest: Mapping[str, Any]) -> Iterator[str]:
    """Yield the base, the settings and what training measured."""
    config, base, facts = manifest["config"], manifest["base"], manifest["training"]
    lora, how, quantization = config["lora"], config["training"], config["quantization"]
    made = "a small model made from the rows" if config["base"]["scratch"] else code(str(base.get("path")))
    # A folder's revision is its name; what tells it from another is the hashes in the manifest.
    revision = base.get("revision") if run.local_base is None else None
    yield f"Base: {made}" + (f", revision {code(str(revision))}." if revision else ".")
    yield ""
    twice = ", its constants quantised too" if quantization["double_quant"] else ""
    held = f"{quantization['type']}{twice}" if quantization["enabled"] else "unquantised"
    settings = {
        "base held as": held,
        "rank": lora["r"],
        "alpha": lora["alpha"],
        "dropout": lora["dropout"],
        "layers": ", ".join(lora["target_modules"]),
        "rank-stabilised": lora["rslora"],
        "learning rate": how["lr"],
        "schedule": how["schedule"],
        "warm-up": how["warmup"],
        "weight decay": how["weight_decay"],
        "epochs": how["epochs"],
        "batch": how["batch"],
        "accumulation": how["accumulation"],
        "longest row in tokens": how["max_length"],
        "packing": how["packing"],
        "seed": how["seed"],
    }
    yield from table(("setting", "value"), [(name, markdown(str(value))) for name, value in settings.items()])
    yield ""
    gaps = facts.get("gaps") or []
    memory = facts.get("peak_memory_bytes") or {}
    audit = facts.get("audit") or {}
    measured = {
        "weights": counted(facts.get("weights")),
        "trained weights": counted(facts.get("trainable")),
        "rows whose labels were checked": counted(audit.get("rows")),
        "learned tokens": counted(audit.get("learned_tokens")),
        "steps": counted(facts.get("steps")),
        "training loss": number(facts.get("loss")),
        "held-back rows' loss": number(facts.get("eval_loss")),
        "least held-back loss": number(facts.get("best_eval_loss")),
        "largest gap between the two": number(max((one["gap"] for one in gaps), default=None)),
        "tokens per second": number(facts.get("tokens_per_second")),
        "peak memory, MB": megabytes(memory.get("process")),
        "peak memory of the GPU, MB": megabytes(memory.get("gpu")),
        "seconds": number(manifest["seconds"].get("train")),
    }
    yield from table(("measured", "value"), list(measured.items()))
    yield ""
    if "device" in facts:
        yield f"Devices: {facts['devices']}, {markdown(facts['device'])}; computed in {markdown(facts['precision'])}."
    if run.loss_curve.is_file():
        yield ""
        yield f"![Loss of the training rows and of the rows held back]({run.loss_curve.name})"


# --- What it costs, and how it is used ---------------------------------------------------------------------------


def _cost_lines(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the run and the requests cost."""
    cost = manifest["cost"]
    if cost is None:
        yield NOT_MEASURED
        return
    hours, seconds = number(cost["machine_hours"]), number(cost["seconds_per_request"])
    yield f"All stages took {hours} machine hours; a request to {code(cost['deployed'])} takes {seconds} s in the mean."
    yield ""
    if all(price is None for name, price in cost["prices"].items() if name != "currency"):
        yield "No price was given."
        return
    yield from table(("cost", "amount"), [(markdown(name), markdown(text)) for name, text in cost["rows"]])


def _file_lines(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Yield the files with their real sizes."""
    rows = [
        (
            code(one["file"]),
            megabytes(one["bytes"]),
            number(one["bits_per_weight"]) if "bits_per_weight" in one else "",
            number(one["fallback_share"]) if one.get("fallback_share") is not None else "",
            code(one["sha256"]),
        )
        for one in [*manifest["gguf"], *(_in_folder(manifest["adapter"]["files"], "adapter"))]
        if one["file"].endswith((".gguf", ".safetensors"))
    ]
    yield from table(("file", "MB", "bits per weight", "share that fell back", "sha256"), rows)


def _in_folder(files: Sequence[Mapping[str, Any]], folder: str) -> list[dict[str, Any]]:
    """Return files with their folder's name before theirs."""
    return [{**one, "file": f"{folder}/{one['file']}"} for one in files]


def _usage_lines(run: RunFolder) -> Iterator[str]:
    """Yield the commands that judge and serve it."""
    where = run.config.publish or run.config.output
    *_, last = [run.f16, *(path for _, path in run.quantised())]
    yield "```console"
    yield f"$ pytest --gates={run.config.gates[0]} --model={where}/{last.name}"
    if run.modelfile.is_file():
        yield f"$ cd {where} && ollama create {run.config.export.name.lower()} -f {run.modelfile.name}"
    yield "```"


def _again_lines(run: RunFolder, manifest: Mapping[str, Any], manifest_sha256: str) -> Iterator[str]:
    """Yield the command that makes the same candidate."""
    where = run.config.publish or run.config.output
    yield "```console"
    yield f"$ modelgate-train run --config {where}/config.yaml"
    yield "```"
    yield ""
    yield f"Configuration sha256 {code(manifest['config_sha256'])}; manifest.json sha256 {code(manifest_sha256)}."


def _words(name: str) -> str:
    """Return a key as words."""
    return name.replace("_", " ")
