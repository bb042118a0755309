"""
Describe a training configuration: one YAML file, every key known, every value checked before any work.

Each field's description is also what ``--dry-run`` users look up: a key without one would be a key nobody can use.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator


def _listed(value: Any) -> Any:
    """Let one name stand where a list of names is meant."""
    return [value] if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """Base of every section: unknown keys are errors, values are not changed afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True)


# --- What is learned ---------------------------------------------------------------------------------------------


class Task(Section):
    """Say what the model is told, and which evaluation rows it must never have seen."""

    system: str | None = Field(default=None, description="file with the system prompt; none: no system turn")
    suites: Names = Field(
        default=(), description="globs of the evaluation files that training rows are checked against"
    )


class Data(Section):
    """Say where the training rows come from and what is done to them before training."""

    train: Names = Field(min_length=1, description="files or globs: .jsonl rows {input, expected, group}, or .csv")
    text_column: str = Field(default="text", description="of a .csv: the column that holds the message")
    label_column: str = Field(default="category", description="of a .csv: the column that holds the label")
    label_key: str = Field(default="label", description="of a .csv: the key of the answer, {label_key: label}")
    leaks: Literal["refuse", "drop"] = Field(
        default="refuse", description="what to do with a row that an evaluation row equals"
    )
    near: float = Field(
        default=90.0, ge=50.0, le=100.0, description="similarity in percent from which two texts count as one"
    )
    limit: int | None = Field(default=None, ge=2, description="use at most this many rows, taken at random")
    validation: float = Field(default=0.05, ge=0.0, le=0.5, description="share of the rows that is held back, by group")
    seed: int = Field(default=7, description="of the sampling and of the split")


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
    hidden_size: Count = 256
    layers: Count = 4
    heads: Count = 4
    kv_heads: Count = 2
    intermediate_size: Count = 768
    max_position: int = Field(default=2048, ge=64)
    epochs: float = Field(default=12.0, gt=0.0)
    steps: int | None = Field(default=None, ge=1, description="ends the training earlier than 'epochs' does")
    batch: Count = 32
    lr: float = Field(default=2e-3, gt=0.0)
    weight_decay: float = Field(default=0.05, ge=0.0)
    warmup: Share = 0.05
    bare: Share = Field(
        default=0.0, description="share of the rows shown as the message alone: 4 times as fast to read"
    )
    titles: Share = Field(
        default=0.0, description="share of the rows shown again, with the group's name as their title"
    )
    restore: Share = Field(default=0.0, description="share of the rows shown again, damaged, to be written undamaged")
    seed: int = 11
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
    scratch: Scratch | None = None

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if (self.path is None) == (self.scratch is None):
            raise ValueError("give either 'path' (an existing model) or 'scratch' (make a small one)")
        return self


# --- How it is tuned ---------------------------------------------------------------------------------------------


class Quantization(Section):
    """Say how the frozen base is held while the adapter is trained."""

    enabled: bool = Field(default=True, description="false trains the adapter on the unquantised base (plain LoRA)")
    type: Literal["nf4", "fp4"] = "nf4"
    double_quant: bool = True
    compute_dtype: Literal["bfloat16", "float32"] = "bfloat16"


class Lora(Section):
    """Describe the adapter."""

    r: Count = 16
    alpha: Count = 32
    dropout: float = Field(default=0.05, ge=0.0, lt=1.0)
    target_modules: Names = ("q_proj", "k_proj", "v_proj", "o_proj")
    rslora: bool = False


class Training(Section):
    """Say how the adapter is trained."""

    epochs: float = Field(default=3.0, gt=0.0)
    steps: int | None = Field(default=None, ge=1, description="ends the training earlier than 'epochs' does")
    batch: Count = 4
    accumulation: Count = 4
    lr: float = Field(default=2e-4, gt=0.0)
    schedule: Literal["cosine", "linear", "constant", "constant_with_warmup"] = "cosine"
    warmup: Share = Field(default=0.03, description="share of the steps")
    weight_decay: float = Field(default=0.01, ge=0.0)
    label_smoothing: Share = 0.0
    max_length: int = Field(default=512, ge=16, description="in tokens; a longer row is an error, never cut")
    gradient_checkpointing: bool = False
    evaluate: bool = Field(default=True, description="measure the loss of the held-back rows after each epoch")
    seed: int = 13
    augment: Augment = Augment()


# --- What comes out ----------------------------------------------------------------------------------------------


class Export(Section):
    """Say which GGUF files are written."""

    name: str = Field(
        default="model", pattern=r"^[A-Za-z0-9_.-]+$", description="files are called <name>-<quantization>.gguf"
    )
    quantizations: Names = ("Q8_0", "Q4_K_M")
    base: bool = Field(default=True, description="also write base-f16.gguf, the untuned model, to compare with")


class Config(Section):
    """Hold a whole configuration; paths are relative to ``root``, and ``root`` to the working directory."""

    root: str = "."
    output: str = Field(description="the run's folder")
    publish: str | None = Field(default=None, description="folder that the results are copied to at the end of a run")
    task: Task = Task()
    data: Data
    base: Base
    quantization: Quantization = Quantization()
    lora: Lora = Lora()
    training: Training = Training()
    export: Export = Export()
