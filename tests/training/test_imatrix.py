"""Weights are quantised by how much they matter, measured on texts that no evaluation row is among."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFReader
from modelgate_training.config import Config
from modelgate_training.data.rows import Row, write_rows
from modelgate_training.errors import ConfigError, StageError
from modelgate_training.export.calibration import read_calibration
from modelgate_training.export.gguf import quantize
from modelgate_training.export.imatrix import Importance, measure, write_imatrix
from modelgate_training.export.merge import merge_adapter
from modelgate_training.run_folder import RunFolder
from modelgate_training.tuning.loading import load_tokenizer

from pytest_modelgate.engines.llama import Entry, LlamaModel
from tests.training.conftest import Project
from tests.training.support_model import ADAPTER, BASE, BASE_F16, F16, SUPPORT

# peft 0.21 asks transformers 5.23 for it.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

CASE = "My landlord's parrot has eaten the invoice that you sent me by post last Monday"


def conversations(start: int, step: int) -> list[str]:
    """Return training rows of the support task as the model meets them, every so many."""
    lines = (SUPPORT / "train.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines[start::step]]
    return [
        f"<|im_start|>user\n{row['input']}<|im_end|>\n<|im_start|>assistant\n{json.dumps(row['expected'])}<|im_end|>"
        for row in rows
    ]


@pytest.fixture(scope="module")
def importance(tmp_path_factory: pytest.TempPathFactory) -> Importance:
    """Measure the tuned model of the support task on 40 of its training rows, once."""
    merged = tmp_path_factory.mktemp("merged") / "merged"
    merge_adapter(BASE, ADAPTER, merged)
    return measure(merged, F16, load_tokenizer(merged), conversations(0, 120), 1024)


# --- Measuring ---------------------------------------------------------------------------------------------------


@pytest.mark.model
def test_the_first_layer_s_importance_is_known_by_hand() -> None:
    """The first attention reads normed embeddings: its importance, computed from the GGUF's own numbers."""
    texts = conversations(1, 900)
    tokenizer = load_tokenizer(BASE)
    found = measure(BASE, BASE_F16, tokenizer, texts, 1024)
    weights = {tensor.name: np.asarray(tensor.data, np.float64) for tensor in GGUFReader(str(BASE_F16)).tensors}
    ids = [token for text in texts for token in tokenizer(text, add_special_tokens=False)["input_ids"]]
    embedded = weights["token_embd.weight"][ids]
    normed = embedded / np.sqrt((embedded**2).mean(1, keepdims=True) + 1e-6) * weights["blk.0.attn_norm.weight"]
    for part in "qkv":
        np.testing.assert_allclose(found.means()[f"blk.0.attn_{part}.weight"], (normed**2).mean(0), rtol=1e-4)
    assert found.tokens == len(ids)


@pytest.mark.model
def test_every_matrix_of_the_blocks_is_measured(importance: Importance) -> None:
    """Each quantised matrix inside the blocks has one number for each of its columns, all of the same tokens."""
    matrices = {
        tensor.name: int(tensor.shape[0])
        for tensor in GGUFReader(str(F16)).tensors
        if tensor.name.startswith("blk.") and len(tensor.shape) > 1
    }
    assert {name: len(values) for name, values in importance.means().items()} == matrices
    assert set(importance.counts.values()) == {importance.tokens}


@pytest.mark.model
def test_long_texts_are_read_in_pieces_not_cut() -> None:
    """No token of a text that is longer than the limit is left out."""
    tokenizer, text = load_tokenizer(BASE), " ".join(conversations(2, 1500))
    found = measure(BASE, BASE_F16, tokenizer, [text], 50)
    count = len(tokenizer(text, add_special_tokens=False)["input_ids"])
    assert found.tokens == count
    assert found.chunks == -(-count // 50)


@pytest.mark.model
def test_a_matrix_without_importance_stops_it(tmp_path: Path) -> None:
    """A model whose layers are not all known would be quantised in part without importance: that is refused."""
    import transformers

    sizes = {"vocab_size": 2000, "hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 1}
    shallow = transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**sizes))
    shallow.save_pretrained(tmp_path / "shallow")
    with pytest.raises(StageError, match=r"no importance was measured for blk\.1\..*export\.imatrix"):
        measure(tmp_path / "shallow", F16, load_tokenizer(BASE), ["It broke."], 64)


# --- The file ----------------------------------------------------------------------------------------------------


@pytest.mark.model
def test_the_file_is_one_of_llama_cpp_s(importance: Importance, tmp_path: Path) -> None:
    """Kind, data set, counts and sums lie under the names and in the shapes that llama.cpp's programs read."""
    write_imatrix(tmp_path / "imatrix.gguf", importance, ["train.jsonl"])
    reader = GGUFReader(str(tmp_path / "imatrix.gguf"))
    values = {key: field.contents() for key, field in reader.fields.items() if not key.startswith("GGUF.")}
    assert values == {
        "general.type": "imatrix",
        "imatrix.datasets": ["train.jsonl"],
        "imatrix.chunk_count": 40,
        "imatrix.chunk_size": 1024,
    }
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    assert len(tensors) == 2 * len(importance.sums)
    for name, mean in importance.means().items():
        total, count = tensors[f"{name}.in_sum2"], tensors[f"{name}.counts"]
        assert [list(total.shape), list(count.shape)] == [[len(mean), 1], [1, 1]]
        np.testing.assert_allclose(total.data[0] / count.data[0, 0], mean, rtol=1e-6)


# --- Quantising with it ------------------------------------------------------------------------------------------


def log_probabilities(path: Path, texts: Sequence[str]) -> list[np.ndarray]:
    """Return the log-probabilities of each token of each text, shape (tokens, vocabulary)."""
    model, found = LlamaModel(path, n_ctx=1024), []
    try:
        for text in texts:
            model.clear()
            entries = [
                Entry(token, place, wants_logits=True) for place, token in enumerate(model.tokenize(text.encode()))
            ]
            logits = model.decode(entries).astype(np.float64)
            logits -= logits.max(1, keepdims=True)
            found.append(logits - np.log(np.exp(logits).sum(1, keepdims=True)))
    finally:
        model.close()
    return found


@pytest.mark.model
@pytest.mark.parametrize("ftype", ["Q4_K_M", "Q2_K"])
def test_quantised_by_importance_it_stays_closer(importance: Importance, tmp_path: Path, ftype: str) -> None:
    """On rows that nothing was measured on, the divergence from the f16 model is smaller with the matrix than without."""
    texts = conversations(40, 160)
    quantize(F16, tmp_path / "plain.gguf", ftype)
    quantize(F16, tmp_path / "weighed.gguf", ftype, importance.means())
    exact = log_probabilities(F16, texts)
    divergence = {
        name: np.mean(
            np.concatenate(
                [
                    (np.exp(wanted) * (wanted - got)).sum(1)
                    for wanted, got in zip(exact, log_probabilities(tmp_path / f"{name}.gguf", texts), strict=True)
                ]
            )
        )
        for name in ("plain", "weighed")
    }
    assert 0 < divergence["weighed"] < divergence["plain"]


@pytest.mark.model
def test_the_file_says_that_importance_was_used(importance: Importance, tmp_path: Path) -> None:
    """The quantised file holds how many matrices were weighed, as llama.cpp's own quantiser writes it."""
    quantize(F16, tmp_path / "out.gguf", "Q4_K_M", importance.means())
    assert GGUFReader(str(tmp_path / "out.gguf")).fields["quantize.imatrix.entries_count"].contents() == 14


@pytest.mark.model
def test_a_matrix_of_another_model_is_refused(importance: Importance, tmp_path: Path) -> None:
    """Importances with another number of columns stop the quantisation."""
    other = {name: values[:-1] for name, values in importance.means().items()}
    with pytest.raises(StageError, match=r"imatrix size \d+ is different from tensor size"):
        quantize(F16, tmp_path / "out.gguf", "Q4_K_M", other)
    assert not list(tmp_path.iterdir())


# --- Calibration texts -------------------------------------------------------------------------------------------


@pytest.fixture
def calibrated(project: Project) -> Project:
    """Return a project whose golden suite has a long case, and whose export asks for an importance matrix."""
    project.write_rows("golden.jsonl", [{"id": "g1", "input": CASE, "expected": {"intent": "billing"}}])
    project.config["export"] = {"imatrix": {"calibration": "calib.jsonl"}}
    return project


def read(project: Project) -> tuple[list[str], dict[str, Any]]:
    """Read the project's calibration texts."""
    texts, facts = read_calibration(RunFolder(Config.model_validate(project.config)), load_tokenizer(BASE))
    return texts, facts


LEAKS = {
    "copied": CASE,
    "other case and punctuation": CASE.upper().replace("'", " ") + "!!!",
    "three words changed": CASE.replace("landlord", "neighbour").replace("parrot", "dog").replace("Monday", "Friday"),
}


@pytest.mark.parametrize("kind", LEAKS)
@pytest.mark.parametrize("name", ["calib.jsonl", "calib.txt"])
def test_a_planted_evaluation_row_is_refused(calibrated: Project, kind: str, name: str) -> None:
    """An evaluation row among the calibration texts, however disguised, stops the run; both rows are named."""
    calibrated.config["export"]["imatrix"]["calibration"] = name
    if name.endswith(".jsonl"):
        calibrated.write_rows(name, [{"input": "Nothing to see here."}, {"input": LEAKS[kind]}])
    else:
        (calibrated.path / name).write_text(f"Nothing here.\n{LEAKS[kind]}\n\nMore.", encoding="utf-8")
    line = 2 if name.endswith(".jsonl") else 1
    with pytest.raises(
        StageError, match=rf"1 calibration rows .*: {name}:{line} \w+ .*golden\.jsonl:1\. Take"
    ) as caught:
        read(calibrated)
    assert "parrot" not in str(caught.value).lower()


def test_a_leak_beyond_the_wanted_rows_is_refused_too(calibrated: Project) -> None:
    """The whole file is held to the rule, not the rows that happen to be taken."""
    calibrated.config["export"]["imatrix"]["rows"] = 1
    calibrated.write_rows("calib.jsonl", [{"input": "Nothing to see here."}, {"input": CASE}])
    with pytest.raises(StageError, match=r"calib\.jsonl:2 equals golden\.jsonl:1"):
        read(calibrated)


def test_training_rows_are_held_to_it_too(calibrated: Project) -> None:
    """The default, the prepared training rows, is checked like any file."""
    calibrated.config["export"]["imatrix"] = {}
    run = RunFolder(Config.model_validate(calibrated.config))
    write_rows(run.train_rows, [Row("1", "tickets", CASE, "{}", {}, "g", "train.jsonl:9")])
    with pytest.raises(StageError, match=r"train\.jsonl:9 equals golden\.jsonl:1"):
        read(calibrated)


def test_training_rows_are_read_with_their_answers(calibrated: Project) -> None:
    """A row is read as it was learned: system text, message, answer, end of turn."""
    calibrated.config["export"]["imatrix"] = {}
    run = RunFolder(Config.model_validate(calibrated.config))
    answer = '{"intent": "bug"}'
    write_rows(run.train_rows, [Row("1", "tickets", "Hello there.", answer, {}, "g", "train.jsonl:1")])
    texts, facts = read(calibrated)
    given = "<|im_start|>system\nLabel the message.<|im_end|>\n<|im_start|>user\nHello there.<|im_end|>\n"
    assert texts == [f"{given}<|im_start|>assistant\n{answer}<|im_end|>"]
    assert facts["sha256"] == hashlib.sha256(texts[0].encode()).hexdigest()


def test_rows_are_asked_as_the_task_asks_them(calibrated: Project) -> None:
    """A row of a file is read as the task's question; so many as wanted, at equal distances, with the file's hash."""
    calibrated.write_rows("calib.jsonl", [{"input": f"Row number {number} of ten"} for number in range(10)])
    calibrated.config["export"]["imatrix"]["rows"] = 3
    texts, facts = read(calibrated)
    assert [text.partition("Row number ")[2][0] for text in texts] == ["0", "3", "6"]
    assert all(text.startswith("<|im_start|>system\nLabel the message.<|im_end|>\n") for text in texts)
    content = (calibrated.path / "calib.jsonl").read_bytes()
    assert facts["files"] == {"calib.jsonl": hashlib.sha256(content).hexdigest()}
    assert (facts["rows"], facts["rows_read"]) == (3, 10)


def test_paragraphs_of_a_text_are_read_as_they_are(calibrated: Project) -> None:
    """A text file has a text in each paragraph, with its own line breaks and no template around it."""
    calibrated.config["export"]["imatrix"]["calibration"] = "calib.txt"
    (calibrated.path / "calib.txt").write_text("One\n  two\n\n \n\nthree\n", encoding="utf-8")
    assert read(calibrated)[0] == ["One\n  two", "three"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", r"calib\.jsonl:1: not JSON"),
        ('"text"', r"calib\.jsonl:1: must be an object with a text under 'input', got a text$"),
        (
            '{"text": "my key is x9"}',
            r"calib\.jsonl:1: must be an object with a text under 'input', got nothing there$",
        ),
        ('{"input": ["my key is x9"]}', r"must be an object with a text under 'input', got a list there$"),
        ('\n{"input": " "}', r"calib\.jsonl:2: must be an object"),
        ('{"input": "x", "task": "nope"}', r"calib\.jsonl:1: the row names an unknown task; known are tickets$"),
        ('{"input": "x", "task": ["tickets"]}', r"calib\.jsonl:1: the row names an unknown task; known are tickets$"),
        ("\n\n", r"no text in calib\.jsonl"),
    ],
)
def test_a_bad_file_is_one_line(calibrated: Project, content: str, reason: str) -> None:
    """What cannot be read is named with file and line."""
    (calibrated.path / "calib.jsonl").write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=reason):
        read(calibrated)
