"""A LoRA that is applied on a GGUF when it is loaded answers as the adapter that it was made from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from pytest_modelgate.engines import EngineSettings
from pytest_modelgate.engines.gguf import GgufEngine
from pytest_modelgate.engines.gguf_probe import GgufProbe
from pytest_modelgate.engines.probe import ScoreRow
from pytest_modelgate.engines.process import ProcessEngine
from pytest_modelgate.errors import EngineStartError
from pytest_modelgate.records import Message, Request
from tests.engines.conftest import answered
from tests.faults.gguf_edit import write_lora

ROOT = Path(__file__).parents[2]
SUPPORT = ROOT / "examples" / "support"
BASE_GGUF, MERGED, ADAPTER = SUPPORT / "base-f16.gguf", SUPPORT / "support-f16.gguf", SUPPORT / "adapter"
SETTINGS = EngineSettings(n_ctx=512, n_threads=1)

# peft 0.21 asks transformers 5.23 for it.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")


@pytest.fixture(scope="module")
def lora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the adapter as a LoRA GGUF."""
    return write_lora(ADAPTER, tmp_path_factory.mktemp("lora") / "support-lora.gguf")


def requests(count: int = 4) -> list[Request]:
    """Return golden cases as they are asked."""
    system = Message("system", (ROOT / "golden" / "support.system.txt").read_text(encoding="utf-8").strip())
    lines = (ROOT / "golden" / "support.jsonl").read_text(encoding="utf-8").splitlines()[:count]
    cases = [json.loads(line) for line in lines]
    return [Request(case["id"], 48, (system, Message("user", case["input"]))) for case in cases]


def answers(engine: GgufEngine | ProcessEngine, asked: Sequence[Request]) -> dict[str, str]:
    """Return the text of every answer."""
    try:
        return {key: answered(result).text for key, result in engine.generate(asked)}
    finally:
        engine.close()


def test_base_and_lora_answer_as_the_merged_file(lora: Path) -> None:
    """With the LoRA the base says what the merged file says, without it something else."""
    asked = requests()
    with_lora = answers(GgufEngine(BASE_GGUF, SETTINGS, lora), asked)
    assert with_lora == answers(GgufEngine(MERGED, SETTINGS), asked)
    assert with_lora != answers(GgufEngine(BASE_GGUF, SETTINGS), asked)


def test_a_process_applies_the_lora(lora: Path) -> None:
    """The engine's process is given the LoRA's path."""
    asked = requests(2)
    arguments = {"path": str(BASE_GGUF), "lora": str(lora)}
    assert answers(ProcessEngine("gguf", arguments, SETTINGS), asked) == answers(GgufEngine(MERGED, SETTINGS), asked)


def test_logits_are_those_of_the_adapter(lora: Path, tmp_path: Path) -> None:
    """Runtime LoRA on a 16-bit base computes what peft computes."""
    pytest.importorskip("peft")
    from pytest_modelgate.engines.adapter_probe import AdapterProbe

    probe = GgufProbe(BASE_GGUF, lora, SETTINGS)
    messages = requests(1)[0].messages
    assert messages is not None
    (encoded,) = probe.encode([messages])
    one = ScoreRow("one", encoded.ids, probe.tokenize(['{"intent": "refund_request"}<|im_end|>'])[0])
    (path,) = probe.score([one], tmp_path)
    ours = np.load(path)
    (path,) = AdapterProbe(ADAPTER, SUPPORT / "base", SETTINGS).score([one], tmp_path)
    theirs = np.load(path)
    assert np.mean((ours - theirs) ** 2) / np.mean(theirs**2) < 1e-6


@pytest.mark.parametrize("what", ["other shapes", "no LoRA", "missing"])
def test_what_cannot_be_applied_is_refused(what: str, random_gguf: Path, lora: Path, tmp_path: Path) -> None:
    """A LoRA of another model, a file that is none and a missing one are errors of one line that name it."""
    base, file = BASE_GGUF, lora
    if what == "other shapes":
        base = random_gguf
    elif what == "no LoRA":
        file = MERGED
    else:
        file = tmp_path / "missing.gguf"
    with pytest.raises(EngineStartError, match=r"llama\.cpp") as error:
        GgufEngine(base, SETTINGS, file).describe()
    assert file.name in str(error.value)
    assert "\n" not in str(error.value)
