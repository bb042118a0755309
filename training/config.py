"""
Describe a training configuration: one YAML file, every key known, every value checked before any work.

Each field's description is also what ``modelgate-train schema`` prints: a key without one would be a key nobody can use.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from .data.judged.config import JudgedData
from .documents.cost import Prices


def _listed(value: Any) -> Any:
    """Let one name stand where a list of names is meant."""
    return [value] if isinstance(value, str) else value


_TEXTS = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
Names = Annotated[tuple[str, ...], BeforeValidator(_listed), WithJsonSchema(_TEXTS)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Count = Annotated[int, Field(ge=1, le=1_000_000_000)]


class Section(BaseModel):
    """Base of every section: unknown keys are errors, values are not changed afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


# --- What is learned ---------------------------------------------------------------------------------------------


class Columns(Section):
    """Say which keys (or columns of a .csv) stand for ours, where a file uses other names."""

    id: str | None = Field(default=None, description="the row's own name; default: file and line")
    input: str | None = Field(default=None, description="what the model is shown")
    expected: str | None = Field(default=None, description="what it must answer")
    group: str | None = Field(default=None, description="what belongs on one side of the split: customer, incident, …")
    kind: str | None = Field(default=None, description="kind of example: canonical, boundary, negative, …")
    person: str | None = Field(default=None, description="whose words these are, for 'modelgate-train forget'")

    def given(self) -> dict[str, str]:
        """Return our names and theirs, where a file says them."""
        return {name: value for name, value in self.model_dump().items() if value is not None}


class Source(Section):
    """Name a file of rows and how it is read."""

    path: str = Field(description="file or glob, .jsonl or .csv, relative to 'root'")
    format: Literal["auto", "case", "instruction", "chat", "preference", "csv"] = Field(
        default="auto",
        description="how a row is written; auto tells by its keys: case {input, expected}, instruction {instruction, "
        "input, output}, chat {messages}, preference {prompt, chosen, rejected}",
    )
    task: str | None = Field(default=None, description="the task of rows that do not name one")
    columns: Columns = Field(default=Columns(), description="keys that stand for ours; default: those of the task")
    label_key: str | None = Field(default=None, description="make a plain label the answer {label_key: label}")
    licence: str | None = Field(default=None, description="licence of rows that do not name one")
    origin: str | None = Field(default=None, description="where rows come from that do not say so")


def _word(off: str) -> BeforeValidator:
    """Let YAML's ``no`` and ``off``, which it reads as false, stand for the word that they are."""
    return BeforeValidator(lambda value: off if value is False else value)


def _sources(value: Any) -> Any:
    """Let a path stand where a source is meant, and one source where a list of them is."""
    listed = value if isinstance(value, list | tuple) else [value]
    return tuple({"path": one} if isinstance(one, str) else one for one in listed)


class RowRubric(Section):
    """Say which rows are good enough, where rows carry scores from 1 to 5 (a row without scores is not judged by it)."""

    total: int = Field(default=26, description="least sum of the seven scores, of 35")
    correctness: int = Field(default=4, description="least score of correctness")
    format: int = Field(default=5, description="least score of format")
    safety: int = Field(default=4, description="least score of safety")


class Data(Section):
    """Say where the training rows come from and what is done to them before training."""

    train: Annotated[tuple[Source, ...], BeforeValidator(_sources)] = Field(
        default=(), description="files of rows: paths, or tables with path, format, task, columns, …"
    )
    judged: JudgedData | None = Field(
        default=None, description="rows made of several models' answers and their judges' scores, step by step"
    )
    leaks: Literal["refuse", "drop"] = Field(
        default="refuse", description="what to do with a row that is, or nearly is, an evaluation row"
    )
    near: float = Field(
        default=90.0, ge=50.0, le=100.0, description="similarity in percent from which a row is an evaluation row"
    )
    duplicates: float = Field(
        default=97.0, ge=50.0, le=100.0, description="similarity in percent from which the later of two rows is dropped"
    )
    privacy: Annotated[Literal["mask", "reject", "off"], _word("off")] = Field(
        default="mask", description="what to do with secrets and personal data; 'off' needs a reason in privacy_reason"
    )
    privacy_reason: str | None = Field(default=None, description="why privacy is off; goes into the manifest")
    least_letters: int = Field(default=2, ge=0, description="an input with fewer letters or digits is trivial")
    quotas: dict[str, Share] = Field(
        default_factory=dict, description="least share of rows of a kind: {negative: 0.1, adversarial: 0.05}"
    )
    same_answer: Share = Field(
        default=1.0, description="rows beyond this share of a task with one and the same answer are dropped"
    )
    rubric: RowRubric = RowRubric()
    most_rejected: Share = Field(default=0.5, description="stop if a larger share of the rows is rejected")
    limit: int | None = Field(default=None, ge=2, description="use at most this many rows, taken at random")
    validation: float = Field(default=0.05, ge=0.0, le=0.5, description="share of the rows that is held back, by group")
    seed: int = Field(default=7, description="of the sampling and of the split")

    @model_validator(mode="after")
    def _says_why(self) -> Self:
        if self.privacy == "off" and not self.privacy_reason:
            raise ValueError("privacy 'off' leaves secrets in the rows: say why in privacy_reason")
        return self


class Augment(Section):
    """Say how often an input is altered each time that it is read; labels stay as they are."""

    case: Share = Field(default=0.0, description="all lower, all upper, or first letter lower")
    punctuation: Share = Field(default=0.0, description="marks removed or repeated")
    typos: Share = Field(default=0.0, description="letters swapped, dropped or doubled")
    drop_words: Share = Field(default=0.0, description="share of the words left out, in half of the rows")
    space: Share = Field(default=0.0, description="blanks and line breaks added")
    greeting: Share = Field(default=0.0, description="a greeting put before, or a closing after, the message")
    repeat: Share = Field(default=0.0, description="the message written two to six times, which teaches long positions")
    noise: Share = Field(default=0.0, description="markup, emoji, digits or foreign letters put around the message")


# --- What it starts from -----------------------------------------------------------------------------------------


class Scratch(Section):
    """Describe a small Qwen2 that is trained from nothing, on this machine."""

    vocab_size: int = Field(default=2000, ge=300, description="of the byte-level BPE, control tokens included")
    hidden_size: Count = Field(default=256, description="width of the model")
    layers: Count = Field(default=4, description="number of layers")
    heads: Count = Field(default=4, description="attention heads in a layer")
    kv_heads: Count = Field(default=2, description="key and value heads in a layer")
    intermediate_size: Count = Field(default=768, description="width of the feed-forward part")
    max_position: int = Field(default=2048, ge=64, description="longest context in tokens")
    epochs: float = Field(default=12.0, gt=0.0, description="passes over the rows")
    steps: int | None = Field(default=None, ge=1, description="ends the training earlier than 'epochs' does")
    batch: Count = Field(default=32, description="rows in a step")
    lr: float = Field(default=2e-3, gt=0.0, description="highest learning rate")
    weight_decay: float = Field(default=0.05, ge=0.0, description="of matrices, not of norms and biases")
    warmup: Share = Field(default=0.05, description="share of the steps in which the learning rate rises")
    bare: Share = Field(
        default=0.0, description="share of the rows shown as the message alone: 4 times as fast to read"
    )
    titles: Share = Field(
        default=0.0, description="share of the rows shown again, with the group's name as their title"
    )
    restore: Share = Field(default=0.0, description="share of the rows shown again, damaged, to be written undamaged")
    seed: int = Field(default=11, description="of the weights, the order and the alterations")
    dtype: Literal["float16", "bfloat16", "float32"] = Field(default="float16", description="of the saved weights")
    augment: Augment = Augment()

    @model_validator(mode="after")
    def _heads_fit(self) -> Self:
        if self.hidden_size % self.heads or self.heads % self.kv_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} must be a multiple of heads {self.heads}, "
                f"and heads of kv_heads {self.kv_heads}"
            )
        return self


class Base(Section):
    """Name the model that is tuned: an existing one, or one made from scratch."""

    path: str | None = Field(
        default=None, description="folder, or name on the Hugging Face Hub of a model already downloaded"
    )
    revision: str | None = Field(default=None, description="commit of a model from the Hub")
    own_tokenizer: bool = Field(
        default=False,
        description="the folder's tokenizer was made by 'scratch': llama.cpp's converter is told that it splits as Qwen2",
    )
    scratch: Scratch | None = Field(default=None, description="make a small base on this machine")

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if (self.path is None) == (self.scratch is None):
            raise ValueError("give either 'path' (an existing model) or 'scratch' (make a small one)")
        return self

    @property
    def is_own(self) -> bool:
        """Say whether the tokenizer is one that this program trained."""
        return self.scratch is not None or self.own_tokenizer


class Baseline(Section):
    """Say what the candidate has to beat; the untuned base is always measured."""

    prompted: str | None = Field(default=None, description="file with a better system text for the untuned base")
    program: str | None = Field(
        default=None,
        description="a deterministic program, as python:module:function, found from the gates file's folder",
    )
    larger: str | None = Field(default=None, description="spec of a larger model, as pytest --control takes it")


# --- How it is tuned ---------------------------------------------------------------------------------------------


class Quantization(Section):
    """Say how the frozen base is held while the adapter is trained."""

    enabled: bool = Field(default=True, description="false trains the adapter on the unquantised base (plain LoRA)")
    type: Literal["nf4", "fp4"] = Field(default="nf4", description="4-bit format")
    double_quant: bool = Field(default=True, description="quantise the quantisation's own constants too")
    compute_dtype: Literal["bfloat16", "float16", "float32"] = Field(
        default="bfloat16", description="in which 4-bit weights are multiplied"
    )


class Lora(Section):
    """Describe the adapter."""

    r: Count = Field(default=16, description="rank")
    alpha: Count = Field(default=32, description="scale: alpha/r, or alpha/sqrt(r) with rslora")
    dropout: float = Field(default=0.05, ge=0.0, lt=1.0, description="dropout before the adapter")
    target_modules: Names = Field(
        min_length=1, default=("q_proj", "k_proj", "v_proj", "o_proj"), description="linear layers that get an adapter"
    )
    rslora: bool = Field(default=False, description="rank-stabilised scale")
    plus_ratio: float | None = Field(
        default=None, ge=1.0, description="LoRA+: learning rate of the B matrices over that of the A matrices, often 16"
    )


class Training(Section):
    """Say how the adapter is trained."""

    epochs: float = Field(default=3.0, gt=0.0, description="passes over the rows")
    steps: int | None = Field(default=None, ge=1, description="ends the training earlier than 'epochs' does")
    batch: Count = Field(default=4, description="rows (or packed sequences) in a pass, on each device")
    accumulation: Count = Field(default=4, description="passes in a step")
    lr: float = Field(default=2e-4, gt=0.0, description="highest learning rate")
    schedule: Literal["cosine", "linear", "constant", "constant_with_warmup"] = Field(
        default="cosine", description="how the learning rate falls"
    )
    warmup: float = Field(
        default=0.03, ge=0.0, description="below 1: share of the steps in which the rate rises; else their number"
    )
    weight_decay: float = Field(default=0.0, ge=0.0, description="of the adapter's matrices")
    optimizer: Literal["adamw_torch", "adamw_8bit", "paged_adamw_8bit"] = Field(
        default="adamw_torch", description="8-bit ones need a GPU; elsewhere adamw_torch is used, and the log says so"
    )
    precision: Literal["auto", "bf16", "fp16", "fp32"] = Field(
        default="auto", description="of the arithmetic; auto: bf16 where the device has it, else fp16 (GPU) or fp32"
    )
    label_smoothing: Share = Field(default=0.0, description="share of probability that is spread over all tokens")
    max_length: int = Field(default=1024, ge=16, description="longest row in tokens; a longer one is rejected, not cut")
    packing: bool = Field(default=False, description="put several rows into one sequence; none sees another")
    gradient_checkpointing: bool = Field(default=False, description="less memory, a third more time")
    evaluate: Annotated[Literal["epoch", "no"] | Count, _word("no")] = Field(
        default="epoch",
        description="when the loss of the held-back rows is measured: epoch, no, or every so many steps",
    )
    save: Literal["epoch"] | Count = Field(
        default="epoch", description="when a checkpoint is written, to go on from after an interruption"
    )
    best: bool = Field(default=True, description="keep the checkpoint with the least loss of the held-back rows")
    patience: int | None = Field(
        default=None, ge=1, description="early stopping: measurements without a better one before training ends"
    )
    most_gap: float | None = Field(
        default=None, gt=0.0, description="warn where the held-back rows' loss exceeds the training loss by more"
    )
    log_steps: Count = Field(default=10, description="steps between two measurements of the training loss")
    seed: int = Field(default=13, description="of the adapter's weights, the order, dropout and alterations")
    augment: Augment = Augment()

    @model_validator(mode="after")
    def _measurements_fit(self) -> Self:
        if self.evaluate == "no" and self.patience is not None:
            raise ValueError("patience needs measurements: set evaluate to 'epoch' or a number of steps")
        if self.best and self.evaluate not in {"no", self.save}:
            raise ValueError(
                f"best needs a checkpoint wherever the loss was measured: save {self.save!r} must be evaluate "
                f"{self.evaluate!r}"
            )
        return self


# --- What comes out ----------------------------------------------------------------------------------------------


class Imatrix(Section):
    """Weigh the columns of each matrix by how much they are used, when quantising."""

    calibration: Names = Field(
        default=(), description="text files or .jsonl rows {input}; none: the training rows (never evaluation rows)"
    )
    rows: Count = Field(default=128, description="at most so many rows are read")


class Export(Section):
    """Say which files are written."""

    name: str = Field(
        default="model", pattern=r"^[A-Za-z0-9_.-]+$", description="files are called <name>-<quantization>.gguf"
    )
    dtype: Literal["f16", "bf16"] = Field(default="f16", description="of the GGUF that is not quantised")
    quantizations: Names = Field(default=("Q8_0", "Q4_K_M"), description="as llama.cpp names them")
    imatrix: Imatrix | None = Field(default=None, description="quantise with an importance matrix")
    lora: bool = Field(default=False, description="also write the adapter alone, as <name>-lora.gguf")
    modelfile: bool = Field(default=True, description="also write an Ollama Modelfile for the last quantisation")
    base: bool = Field(default=True, description="write base-f16.gguf, the untuned model, which the baseline is run on")


class Card(Section):
    """Say what measurements cannot: the words of the model card."""

    title: str | None = Field(default=None, description="the model's name; default: export.name")
    licence: str | None = Field(default=None, description="identifier of the Hub, such as apache-2.0")
    language: Names = Field(default=(), description="codes of the languages, such as en")
    goal: str | None = Field(default=None, description="what the model is for")
    out_of_scope: str | None = Field(default=None, description="what it is not for")
    limits: str | None = Field(default=None, description="known weaknesses")


class Config(Section):
    """Hold a whole configuration; paths are relative to ``root``, and ``root`` to the working directory."""

    root: str = Field(default=".", description="folder that the paths are relative to")
    output: str = Field(description="the run's folder")
    publish: str | None = Field(default=None, description="folder that the results are copied to at the end of a run")
    registry: str | None = Field(default="registry", description="folder of runs.jsonl and datasets.jsonl; null: none")
    gates: Names = Field(
        min_length=1,
        description="the gates.toml that judges the candidate: its tasks, prompts, contracts and suites; several only "
        "where a base is made for all of them",
    )
    data: Data
    base: Base
    baseline: Baseline = Baseline()
    quantization: Quantization = Quantization()
    lora: Lora = Lora()
    training: Training = Training()
    export: Export = Export()
    prices: Prices = Prices()
    card: Card = Card()

    @model_validator(mode="after")
    def _folders_are_apart(self) -> Self:
        if self.export.name == "base":
            raise ValueError("export.name 'base' is what the untuned model's file is called: choose another")
        folders = {
            name: PurePath(self.root, value)
            for name, value in (("output", self.output), ("publish", self.publish))
            if value
        }
        if PurePath(self.root) in folders.values():
            raise ValueError("output and publish are folders of their own, not 'root' itself")
        if folders.get("publish") == folders["output"]:
            raise ValueError("publish must be another folder than output")
        return self
