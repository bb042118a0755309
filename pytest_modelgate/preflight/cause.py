"""Name the likeliest cause of what a preflight found wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from pytest_modelgate.preflight.check import CheckResult
from pytest_modelgate.records import Json

_ORDER = (
    "file_whole",
    "finite_weights",
    "modelfile",
    "base_weights",
    "base_identity",
    "adapter_config",
    "adapter_scale",
    "adapter_applied",
    "tied_embeddings",
    "embedding_rows",
    "end_of_turn",
    "bos",
    "added_tokens",
    "system_prompt",
    "generation_prompt",
    "chat_template",
    "template_files",
    "served_prompt_tokens",
    "load_warnings",
    "token_ids",
    "quantization",
    "quantization_error",
    "requantized",
    "architecture",
    "tensor_parity",
    "end_of_turn_probability",
    "tokenizer_files",
    "long_prompt",
    "closer_to_adapter",
    "logits_parity",
    "prompt_fits",
    "generation_config",
    "special_tokens",
    "file_name",
    "manifest",
)
"""
Checks from the most telling to the least.

What is wrong with a file as such comes before what it follows from it, what names one part before what sees a symptom: a zeroed
layer also changes the logits, a lost adapter also moves them towards the base, and every file that was changed has another hash.
"""

_MEANINGS = {
    "F01": "the chat template is another one than in training",
    "F02": "the tokenizer makes other tokens of the same text",
    "F03": "a BOS is missing, or there is one too many",
    "F04": "what ends an answer in training does not end it here",
    "F05": "the system turn is dropped, doubled or added",
    "F06": "the template's thinking switch is set otherwise than in training",
    "F07": "users can write control tokens",
    "F08": "a token of the vocabulary, or its embedding, is another one",
    "F09": "files of the tokenizer are missing or wrong",
    "F10": "the output layer or the embedding that it shares is broken",
    "F11": "the adapter is not in the file",
    "F12": "part of what the adapter learned, its scale above all, is lost",
    "F13": "the weights were damaged in merging or conversion",
    "F14": "the base is another model or revision",
    "F15": "positions, context or norms are computed with other settings",
    "F16": "weights are no numbers, or zeros",
    "F17": "the settings of generation differ",
    "F18": "the Modelfile serves another model than the file",
    "F21": "the quantisation is not what the file says",
    "F22": "quantising has cost too much",
    "F24": "the file was quantised from one that was quantised before",
    "F20": "the reference answers otherwise in batches than alone",
    "F25": "the file is not the one that the training made: stale, cut off or changed afterwards",
    "F28": "answers are valid because a grammar forces them to be",
    "F30": "prompts and answers do not fit into the context",
    "F31": "llama.cpp warns when it loads the file",
}
"""What each failure mode means, in a line."""


@dataclass(frozen=True, slots=True)
class Cause:
    """Hold the likeliest failure mode, a sentence on it, and the checks that it rests on, the most telling first."""

    mode: str
    sentence: str
    checks: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.mode}, {self.sentence}"

    def to_json(self) -> Json:
        """Return the cause as primitives."""
        return asdict(self) | {"checks": list(self.checks)}


def likeliest_cause(results: Sequence[CheckResult]) -> Cause | None:
    """Return the likeliest cause of the failed checks on one target, None where none failed."""
    failed = sorted((one for one in results if one.outcome == "failed"), key=_place)
    if not failed:
        return None
    first = _root(failed)
    mode = "F15" if _is_computed_otherwise(first, results) else first.mode
    others = [one for one in failed if one is not first and one.mode == first.mode]
    meaning = _MEANINGS.get(mode)
    sentence = f"{meaning} ({first.check}: {first.reason})" if meaning else first.reason
    return Cause(mode, sentence, (first.check, *(one.check for one in others)))


def _is_computed_otherwise(first: CheckResult, results: Sequence[CheckResult]) -> bool:
    """Say whether logits differ though every tensor is what it should be: then it is what they are computed with."""
    tensors_are_right = any(one.check == "tensor_parity" and one.outcome == "passed" for one in results)
    return first.check == "logits_parity" and first.mode == "F13" and tensors_are_right


def _root(failed: Sequence[CheckResult]) -> CheckResult:
    """Return what explains the others: the first, unless a later one says what the first only sees."""
    by_check = {one.check: one for one in failed}
    first = failed[0]
    if first.check == "added_tokens" and "token_ids" in by_check and first.mode == "F08":
        return first
    # A template that is another one as a whole also inserts, drops and opens turns otherwise.
    if first.check in {"generation_prompt", "system_prompt", "end_of_turn"} and (
        template := by_check.get("chat_template")
    ):
        is_whole = len({one.check for one in failed} & {"generation_prompt", "end_of_turn", "chat_template"}) > 1
        if is_whole and "added_tokens" not in by_check and not _token_is_broken(by_check):
            return template
    return first


def _token_is_broken(by_check: dict[str, CheckResult]) -> bool:
    """Say whether the end of turn is wrong in the vocabulary, not only in the template."""
    found = by_check.get("end_of_turn")
    return found is not None and "its own template" not in found.reason


def _place(one: CheckResult) -> int:
    """Return how telling a check is; one that is not known comes before the manifest."""
    return _ORDER.index(one.check) if one.check in _ORDER else len(_ORDER) - 2
