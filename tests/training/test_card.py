"""The model card: only what was measured or set, inert, with the header that the Hub reads."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from modelgate_training.documents.card import build_card
from modelgate_training.documents.finish import write_documents
from modelgate_training.documents.manifest import build_manifest
from modelgate_training.documents.tables import NOT_MEASURED, number
from modelgate_training.evaluation import Evaluation
from modelgate_training.run_folder import RunFolder

from tests.training.conftest import Project, rows
from tests.training.finished_run import FACTS, judged, make_run, write_mark
from tests.training.planted import planted
from tests.training.support_model import BASE

CARD = {
    "title": "Support labels",
    "licence": "apache-2.0",
    "language": ["en"],
    "goal": "Label one message.",
    "out_of_scope": "Answering it.",
    "limits": "English alone.",
}
NUMBER = re.compile(r"(?<![\w.])[+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?(?!\w)")


def header(card: str) -> Any:
    """Return the data of a card's header."""
    return ModelCard(card).data


class Written:
    """Hold a run's card, also as the tables that a reader of Markdown sees."""

    def __init__(self, run: RunFolder, found: Evaluation) -> None:
        self.run, self.found = run, found
        write_documents(run, BASE, found)
        self.text = run.card.read_text(encoding="utf-8")
        self.manifest: dict[str, Any] = json.loads(run.manifest.read_text(encoding="utf-8"))

    @property
    def tables(self) -> list[list[list[str]]]:
        """Return the cells of each table, its head first."""
        return read_tables(self.text)

    def row(self, name: str) -> list[str]:
        """Return the first row that begins with a name."""
        return next(row for table in self.tables for row in table if row[0] == name)


def read_tables(text: str) -> list[list[list[str]]]:
    """Return the tables of a Markdown text, as another library reads them."""
    found: list[list[list[str]]] = []
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    for place, token in enumerate(tokens):
        if token.type == "table_open":
            found.append([])
        elif token.type == "tr_open":
            found[-1].append([])
        elif token.type in {"th_open", "td_open"}:
            found[-1][-1].append(tokens[place + 1].content)
    return found


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Return the card of a blocked candidate."""
    run = make_run(tmp_path_factory.mktemp("card"), card=CARD, prices={"machine_per_hour": 0.7})
    return Written(run, judged(run, blocked=True))


# --- Numbers -----------------------------------------------------------------------------------------------------


def numbers_in(value: Any) -> Iterator[float]:
    """Yield every number of a JSON value, also those inside texts."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from numbers_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from numbers_in(inner)
    elif isinstance(value, str):
        yield from map(float, NUMBER.findall(value))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield float(value)


def is_rounded(shown: str, known: float) -> bool:
    """Say whether ``shown`` is ``known``, to the digits that are shown, as it is or in millions."""
    digits = len(shown.partition(".")[2]) if "e" not in shown else 12
    off = 0.5 * 10**-digits
    # Four digits are worth reading of a large figure.
    slack = max(off, 0.0005 * abs(known)) if abs(known) > 1 and "." in shown else off
    return any(abs(float(shown) - known / unit) <= (slack if unit == 1 else off) + 1e-9 for unit in (1, 1e6))


def test_every_number_of_the_tables_was_measured_or_set(written: Written) -> None:
    """Each number in a table of the card stands in the manifest."""
    known = sorted(set(numbers_in(written.manifest)))
    shown = [
        text
        for table in written.tables
        for row in table[1:]
        for cell in row
        for text in NUMBER.findall(re.sub(r"`+[^`]*`+", "", cell))
    ]
    assert len(shown) > 100
    assert [text for text in shown if not any(is_rounded(text, value) for value in known)] == []


def test_the_table_shows_what_the_gate_measured(written: Written) -> None:
    """Base, adapter and file stand side by side with value, interval, n, difference from the base, and verdict."""
    adapter = written.found.figures("adapter")["support"]
    low, high = adapter["interval"]["heldout"]
    gained = adapter["over_base"]["heldout"]
    row = written.row("`adapter`")
    assert row[2] == f"{adapter['heldout']:.3f} [{low:.3f}, {number(high)}], n = 8"
    assert row[3].startswith(f"{gained['value']:+.3f} [{gained['interval'][0]:+.3f}, ")
    assert row[5] == "blocked"  # recordings have neither card nor data version
    base = written.found.figures("base")["support"]
    assert written.row("`base`, untuned base")[1].startswith(f"{base['golden']:.3f} ")
    assert written.row("`larger`, larger model")[1:5] == [NOT_MEASURED] * 4


@given(st.floats(-1e7, 1e7, allow_nan=False))
def test_a_number_is_shown_to_the_digits_worth_reading(value: float) -> None:
    """Whatever is measured, what is shown lies within a thousandth of it, or of one."""
    shown = number(value)
    assert abs(float(shown) - value) <= max(0.0005, 0.0005 * abs(value)) + 1e-9
    assert "e" not in shown


def test_what_was_not_measured_says_so(tmp_path: Path) -> None:
    """Without facts of the training, and without a candidate that was judged, the card invents nothing."""
    run = make_run(tmp_path)
    for stage in ("train", "prepare", "baseline"):
        write_mark(run, stage, {"skipped": "no base yet"} if stage == "baseline" else {})
    card = build_card(run, build_manifest(run, BASE), "0" * 64)
    assert "**Not evaluated yet.**" in card
    measured = next(table for table in read_tables(card) if table[0] == ["measured", "value"])
    assert {value for name, value in measured[1:] if name != "seconds"} == {NOT_MEASURED}
    assert header(card).eval_results is None
    assert card.count("\nnot stated\n") == 3


def test_a_skipped_baseline_is_said(tmp_path: Path) -> None:
    """The reason stands above the table, in which the base was not measured."""
    run = make_run(tmp_path)
    write_mark(run, "baseline", {"skipped": "measured in run support-3"})
    card = Written(run, judged(run))
    assert "The baseline was not measured: measured in run support-3." in card.text


def test_costs_are_worked_out_where_a_price_is_given(tmp_path: Path, written: Written) -> None:
    """With the price of an hour, machine time costs what it measured; without any price no sum is made up."""
    cost = written.manifest["cost"]
    assert cost["machine_hours"] == pytest.approx((7 * 12.5 + written.found.about["duration_s"]) / 3600, abs=1e-6)
    assert written.row("experiment: machine")[1].startswith(f"{0.7 * cost['machine_hours']:.2f}")
    run = make_run(tmp_path)
    assert "No price was given." in Written(run, judged(run)).text


# --- Verdict and limits ------------------------------------------------------------------------------------------


def test_a_blocked_candidate_says_so_at_its_top(written: Written) -> None:
    """Before anything else the card says BLOCKED, and why."""
    top, _, _ = ModelCard(written.text).text.partition("## ")
    assert "**BLOCKED**" in top
    assert "this candidate is not to be released" in top
    assert written.found.reasons
    for reason in written.found.reasons:
        assert f"- {reason.split('[')[0].split('_')[0]}" in top
    assert "PASSED" not in top


def test_every_gate_stands_in_the_card_with_its_outcome(written: Written) -> None:
    """The table of gates has a row for each result, of passed and of failed ones."""
    table = next(table for table in written.tables if table[0][0] == "gate")
    shown = [(row[0].strip("`"), row[1].strip("`"), row[6]) for row in table[1:]]
    assert shown == [(gate["name"], gate["target"], gate["outcome"]) for gate in written.found.gates]
    assert {outcome for _, _, outcome in shown} >= {"passed", "failed"}


def test_an_arm_that_is_not_beaten_is_a_limit(written: Written) -> None:
    """That the blocked file is no better than the untuned base stands among the limits, and cases that it gets wrong."""
    limits = written.text.partition("## Limits")[2].partition("## ")[0]
    assert "English alone." in limits
    base = written.found.figures("base")["support"]["heldout"]
    assert f"- `support`, held-out cases: not better than `base` ({base:.3f}): `Q4_K_M`." in limits
    assert f"`{written.found.targets['Q4_K_M']['failing'][0]}`" in limits


# --- Header ------------------------------------------------------------------------------------------------------


def test_the_header_is_read_back_by_the_hubs_own_library(written: Written) -> None:
    """Licence, language, tags and every measured result survive; what is not judged is no result."""
    data: Any = ModelCard.load(written.run.card).data
    assert (data.license, data.language, data.model_name) == ("apache-2.0", ["en"], "Support labels")
    assert "gguf" in data.tags
    assert data.base_model is None  # it lies in a folder: the Hub knows no such model
    results = {(one.metric_name, one.dataset_type): one.metric_value for one in data.eval_results}
    assert results == {
        (f"macro_f1.intent of {name}", suite): written.found.figures(name)["support"][suite]
        for name in ("adapter", "Q8_0", "Q4_K_M")
        for suite in ("golden", "heldout")
    }
    assert str(ModelCard.load(written.run.card)) == written.text


def test_a_base_from_the_hub_is_named_in_the_header(tmp_path: Path) -> None:
    """The Hub links a model to its base by the base's name there."""
    run = make_run(tmp_path, base={"path": "Qwen/Qwen2.5-0.5B-Instruct", "revision": "7ae5576"})
    card = build_card(run, build_manifest(run, BASE), "0" * 64)
    assert header(card).base_model == "Qwen/Qwen2.5-0.5B-Instruct"


@pytest.mark.parametrize("title", ["a: b", "---\nlicense: mit\n---", "'\"#{}[]", "x\ny", "über 漢字"])
def test_a_title_cannot_break_the_header(tmp_path: Path, title: str) -> None:
    """Whatever the title is, the header stays one, and says nothing that the title made up."""
    run = make_run(tmp_path, card={"title": title})
    card = build_card(run, build_manifest(run, BASE), "0" * 64)
    assert header(card).license is None
    assert header(card).library_name == "peft"
    assert ModelCard(card).text.lstrip().startswith("# ")


# --- What rows and models bring along ----------------------------------------------------------------------------


def test_texts_of_rows_are_inert(tmp_path: Path) -> None:
    """Markup, control sequences and CI commands in kinds, licences and reasons are shown, and do nothing."""
    nasty = "<script>alert(1)</script>|::error::x\x1b[31m\n# head [a](http://b) `c`"
    run = make_run(tmp_path, card={"goal": nasty})
    write_mark(run, "prepare", FACTS["prepare"] | {"kinds": {nasty: 3}, "licences": {nasty: 2}, "rejected": {nasty: 1}})
    found = judged(run, blocked=True)
    found = Evaluation(found.verdict, (nasty, *found.reasons), found.targets, found.gates, found.about)
    card = Written(run, found)
    assert not {"\x1b", "::error"} & {part for part in ("\x1b", "::error") if part in card.text}
    rendered = MarkdownIt("commonmark", {"html": True}).enable("table").render(ModelCard(card.text).text)
    assert "<script" not in rendered
    assert "<a href" not in rendered
    assert {len(row) for table in card.tables for row in table if table[0][0] == "licence"} == {2}


def test_planted_secrets_are_in_no_document(project: Project, tmp_path: Path) -> None:
    """Rows with a secret of every kind are prepared; card, manifest and registry of a run on them hold none."""
    secrets = planted(23)
    lines = [
        {"input": f"{text} is what I typed about the {kind} on page {n}", "expected": {"intent": "bug"}, "kind": kind}
        for n, (kind, text, _) in enumerate(secrets)
    ]
    project.write_rows("train.jsonl", [*rows(), *lines])
    assert project.run("prepare", "--set", "data.most_rejected=1.0", "--set", "data.duplicates=100") == 0
    facts = project.facts("prepare")
    assert facts["masked"]["rows"] >= 20
    accepted = (project.path / "run" / "prepared" / "train.jsonl").read_text(encoding="utf-8").splitlines()
    (tmp_path / "candidate").mkdir()
    run = make_run(tmp_path / "candidate", registry="registry")
    write_mark(run, "prepare", facts)
    write_mark(run, "train", FACTS["train"] | {"first_row": json.loads(accepted[-1])["prompt"]})
    documents = Written(run, judged(run)).text + run.manifest.read_text(encoding="utf-8")
    documents += (run.root / "registry" / "runs.jsonl").read_text(encoding="utf-8")
    assert "email" in documents
    assert [kind for kind, _, secret in secrets if len(secret) > 6 and secret in documents] == []
