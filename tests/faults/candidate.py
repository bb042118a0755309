"""Hold the good candidate that faults are planted in, and what comes out of that."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from modelgate_training.export.gguf import describe
from modelgate_training.export.modelfile import write_modelfile

from pytest_modelgate.engines.llama import quantize
from pytest_modelgate.gguf_file import read_gguf_facts
from pytest_modelgate.identity import hash_file
from pytest_modelgate.records import Message
from pytest_modelgate.tables import GenerationTable
from tests.faults.gguf_edit import Edit, Weights, edit, weights

ROOT = Path(__file__).parents[2]
CANDIDATES = Path(__file__).parent / "candidates"
SYSTEM = "golden/support.system.txt"
N_CTX, MAX_TOKENS = 1024, 64  # those of gates.toml


@dataclass(frozen=True, slots=True)
class BrokenCandidate:
    """
    Hold what is shipped instead of a good candidate.

    ``gguf`` with ``lora`` applied on it, and ``modelfile``, are shipped. ``manifest`` is what the training left beside
    them: of a fault that the pipeline makes it describes the broken file, of one that happens later the good one.
    ``adapter`` on ``base`` is the reference, the good candidate's unless the fault lies in the training. ``modes``: the
    failure modes that are a right cause. ``grammar``: it is gated with its answers held to the schema.
    """

    gguf: Path
    manifest: Mapping[str, Any]
    adapter: Path
    base: Path
    modes: frozenset[str]
    lora: Path | None = None
    modelfile: Path | None = None
    grammar: bool = False


@dataclass(frozen=True)
class GoodCandidate:
    """Hold a candidate whose files belong together: an adapter on its base, what was exported, and the cases."""

    adapter: Path
    base: Path
    f16: Path
    q8_0: Path
    q4_k_m: Path
    base_f16: Path
    manifest: Mapping[str, Any] = field(repr=False)
    prompts: Mapping[str, tuple[Message, ...]] = field(repr=False)
    answers: Mapping[str, str] = field(repr=False)

    @cached_property
    def weights(self) -> dict[str, Weights]:
        """Return the float16 file's weights."""
        return weights(self.f16)

    @cached_property
    def base_weights(self) -> dict[str, Weights]:
        """Return the base's weights, by the names that they have in a GGUF."""
        return weights(self.base_f16)

    def exported(self, folder: Path, found: Mapping[str, Weights], ftype: str = "Q8_0") -> Path:
        """Write a file with these weights under the name that the good candidate's has, quantised to ``ftype``."""
        f16 = edit(self.f16, folder / self.f16.name, Edit(tensors={name: _given(found[name]) for name in found}))
        if ftype == "F16":
            return f16
        target = folder / f"support-{ftype}.gguf"
        quantize(f16, target, ftype)
        f16.unlink()
        return target

    def edited(self, folder: Path, what: Edit) -> Path:
        """Write the shipped file, Q8_0, with other metadata."""
        return edit(self.q8_0, folder / self.q8_0.name, what)

    def broken(self, gguf: Path, *modes: str, **others: Any) -> BrokenCandidate:
        """Return a candidate that ships ``gguf``, of which the manifest tells what it holds."""
        given = {"adapter": self.adapter, "base": self.base} | others
        if "manifest" not in given:
            given["manifest"] = self.manifest_of(gguf, others.get("lora"))
        return BrokenCandidate(gguf=gguf, modes=frozenset(modes), **given)

    def manifest_of(self, gguf: Path, lora: Path | None = None, **others: Any) -> dict[str, Any]:
        """Return the manifest that a pipeline writes that made these files and noticed nothing."""
        made = [gguf] if lora is None else [gguf, lora]
        entries = [{"file": path.name, "sha256": hash_file(path)} | describe(path) for path in made]
        names = {path.name for path in made}
        kept = [one for one in self.manifest["gguf"] if one["file"] not in names]
        return {**self.manifest, "gguf": [*kept, *entries], **others}

    def modelfile(self, folder: Path, *, changed: Callable[[str], str] = str) -> Path:
        """Write the Modelfile of the shipped file, changed."""
        path = folder / "Modelfile"
        generation = GenerationTable(max_tokens=MAX_TOKENS, n_ctx=N_CTX)
        found = write_modelfile(self.q8_0, path, generation, (ROOT / SYSTEM).read_text(encoding="utf-8").strip())
        assert found["written"], found
        good = path.read_text(encoding="utf-8")
        path.write_text(changed(good), encoding="utf-8")
        return path


def _given(found: Weights) -> Callable[[Weights], Weights]:
    """Return what puts these weights in the place of others."""
    return lambda _: found


def good_candidate() -> GoodCandidate:
    """Return the tiny candidate of the support task that is committed in examples/."""
    support = ROOT / "examples" / "support"
    system = Message("system", (ROOT / SYSTEM).read_text(encoding="utf-8").strip())
    prompts, answers = {}, {}
    for suite in ("golden", "adversarial", "heldout"):
        for line in (ROOT / suite / "support.jsonl").read_text(encoding="utf-8").splitlines():
            case = json.loads(line)
            if "input" in case:
                key = f"{suite}/{case['id']}"
                prompts[key] = (system, Message("user", case["input"]))
                if suite == "golden" and "expected" in case:
                    answers[key] = json.dumps(case["expected"], ensure_ascii=False)
    template = read_gguf_facts(support / "support-f16.gguf").chat_template or ""
    manifest = json.loads((support / "manifest.json").read_text(encoding="utf-8"))
    return GoodCandidate(
        adapter=support / "adapter",
        base=support / "base",
        f16=support / "support-f16.gguf",
        q8_0=support / "support-Q8_0.gguf",
        q4_k_m=support / "support-Q4_K_M.gguf",
        base_f16=support / "base-f16.gguf",
        # The committed manifest is older than this entry.
        manifest=manifest | {"chat_template_sha256": hashlib.sha256(template.encode()).hexdigest()},
        prompts=prompts,
        answers=answers,
    )
