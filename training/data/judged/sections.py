"""Describe the parts of a pipeline of judged answers: files, tasks, keys of the rows, and each kind of step."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator


def _listed(value: Any) -> Any:
    """Let one name stand where a list of names is meant."""
    return [value] if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]


class Section(BaseModel):
    """Base of every section: unknown keys are errors, values are not changed afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True)


# --- What there is -----------------------------------------------------------------------------------------------


class JudgedSource(Section):
    """Name a file with one record for each incident."""

    path: str = Field(description=".jsonl file, relative to 'root'")
    key: str = Field(default="incident_id", description="the records' key that holds the incident's id")


class JudgedTask(Section):
    """Say where a task's input, its answers and their scores stand, each as SOURCE.KEY (or SOURCE.KEY.KEY)."""

    input: str = Field(description="the text that the models were shown")
    responses: str = Field(description="a table of answers by model: {model-a: text, …}")
    scores: str = Field(
        description="a table of scores by model; a score is a number, or a table of numbers to be summed"
    )
    scale: float | None = Field(default=None, gt=0.0, description="highest score there is; a higher one is an error")
    same_model_as: str | None = Field(
        default=None, description="take the answer of the model that wrote the best answer of this other task"
    )

    @property
    def references(self) -> tuple[str, str, str]:
        """Return what it refers to."""
        return (self.input, self.responses, self.scores)


class RowKeys(Section):
    """Say what the keys of the rows are called; null leaves one out."""

    id: str | None = Field(default="id", description="INCIDENT-TASK")
    incident_id: str | None = Field(default="incident_id", description="the incident")
    task: str | None = Field(default="task", description="the task")
    input: str | None = Field(default="input", description="what the model is shown")
    expected: str | None = Field(default="expected", description="what it must answer")
    group: str | None = Field(default="group", description="what belongs on one side of a split: the incident")
    source: str | None = Field(default="source", description="file and line of the answer")
    model: str | None = Field(default="model", description="which model wrote the answer")


# --- What is done ------------------------------------------------------------------------------------------------


class Rule(Section):
    """Say what the answers to a task must be like."""

    score: float | None = Field(default=None, description="least score")
    score_of: Literal["best", "chosen"] = Field(
        default="best",
        description="whose score: of the task's best answer, or of the one that is taken (with same_model_as, another)",
    )
    tokens: tuple[int, int] | None = Field(
        default=None, description="least and most tokens of the answer that is taken"
    )
    label: Names = Field(default=(), description="words of which the answer that is taken must hold one, in any case")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.tokens is not None and not 0 <= self.tokens[0] <= self.tokens[1]:
            raise ValueError(f"tokens are [least, most], got {list(self.tokens)}")
        return self


class MergeJudgements(Section):
    """Make one table of several that hold the same kind of record."""

    tables: Names = Field(min_length=1, description="sources, or tables that earlier steps made")
    to: str = Field(description="name of the table that is made; tasks refer to it as to a source")
    conflicts: Literal["refuse", "later"] = Field(
        default="refuse", description="an incident that two tables tell differently: an error, or the later one counts"
    )


class Join(Section):
    """Bring together what several tables hold of an incident."""

    tables: Names = Field(min_length=1, description="sources, or tables that earlier steps made; the first ones' order")
    required: Names | None = Field(
        default=None, description="tables that must have the incident, others may; default: all of them"
    )
    to: str | None = Field(default=None, description="name for later steps")


class Filter(Section):
    """Leave out incidents whose answers are not good enough."""

    rules: dict[str, Rule] = Field(min_length=1, description="for each task, what its answers must be like")
    table: str | None = Field(default=None, description="what is filtered; default: what the step before made")
    to: str | None = Field(default=None, description="name for later steps")


class Split(Section):
    """Hold incidents back for evaluation; before or after 'select'."""

    share: float = Field(default=0.1, gt=0.0, lt=1.0, description="share of the incidents that is held back")
    seed: int = Field(default=42, description="of the drawing; the order of the incidents does not matter to it")


class Select(Section):
    """Take one answer to each task, the tasks of an incident one after the other."""

    tasks: Names | None = Field(default=None, description="which tasks, in which order; default: all, as declared")


class Augment(Section):
    """Append the rows of incidents that have none yet."""

    tables: Names = Field(min_length=1, description="tables that must all have the incident")
    tasks: Names = Field(min_length=1, description="which tasks, in which order")
    rules: dict[str, Rule] = Field(default_factory=dict, description="for each task, what its answers must be like")
    exclude_eval: bool = Field(default=False, description="leave out incidents that are held back for evaluation")


class Step(Section):
    """Hold one step: a table with exactly one key, the step's name."""

    merge_judgements: MergeJudgements | None = Field(default=None, description="several judges' files as one")
    join: Join | None = Field(default=None, description="several tables by incident")
    filter: Filter | None = Field(default=None, description="only what is good enough")
    split: Split | None = Field(default=None, description="some held back for evaluation")
    select: Select | None = Field(default=None, description="one answer to each task: rows")
    augment: Augment | None = Field(default=None, description="more rows, of other incidents")

    @model_validator(mode="after")
    def _one(self) -> Self:
        names = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(names) != 1:
            valid = ", ".join(type(self).model_fields)
            raise ValueError(f"a step has one name, got {', '.join(names) or 'none'}; valid are {valid}")
        return self

    @property
    def name(self) -> str:
        """Return the step's name."""
        return next(name for name in type(self).model_fields if getattr(self, name) is not None)

    @property
    def does(self) -> MergeJudgements | Join | Filter | Split | Select | Augment:
        """Return the step's own table."""
        found: MergeJudgements | Join | Filter | Split | Select | Augment = getattr(self, self.name)
        return found
