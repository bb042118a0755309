"""summary.md is read from top to bottom: verdict, gates, arms, changes, causes, cases; nothing in it is markup by chance."""

from __future__ import annotations

import json
import re
import unicodedata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_modelgate.records import Generation
from pytest_modelgate.report.detail import describe_labels
from pytest_modelgate.report.markdown import MAX_BYTES, build_markdown
from pytest_modelgate.report.terminal import summary_lines
from tests.conftest import Project
from tests.outcomes import judged
from tests.plugin.test_baseline_report import REGRESSION, accept
from tests.rendering import assert_inert
from tests.test_escape import TEXTS

WRONG = json.dumps({"intent": "bug", "urgency": "low"})


def summary(project: Project) -> list[str]:
    """Return the lines of summary.md."""
    return (project.out / "summary.md").read_text(encoding="utf-8").splitlines()


def test_order(project: Project) -> None:
    """The verdict and its reasons come first, then gates, arms, changes, causes, labels and cases."""
    project.write_gates(
        form='metric = "schema_validity"\nmin = 0.99',
        kept='metric = "accuracy.intent"\nmax_regression = 0.9',
        intent='metric = "accuracy.intent"\nmin = 0.1',
    )
    accept(project)
    project.record({"golden/late": WRONG, "golden/crash": "no"}, target="off")

    project.run(target="off")

    lines = summary(project)
    assert lines[0] == "## ❌ Release blocked: `off`"
    assert lines[2:4] == [
        "- gate form[off]: schema_validity 0.8571 < 0.99",
        "- 1 critical case failed: late[off]",
    ]
    assert [line for line in lines if line.startswith("### ")] == [
        "### Gates",
        "### Arms",
        "### Changes against the baseline",
        "### What went wrong, by cause",
        "### Labels",
        "### Cases worth looking at (2 of 2)",
    ]
    assert [line.split(" | ")[0] for line in lines if line.startswith(("| ✓", "| ✗"))] == ["| ✗", "| ✓", "| ✓"]


def test_cases(project: Project) -> None:
    """Each case says which contract is broken, what was expected, answered and asked; the worst come first."""
    project.record({"golden/late": WRONG, "golden/crash": "no"}, target="off")

    project.run(target="off")

    lines = summary(project)
    start = lines.index("### Cases worth looking at (2 of 2)")
    assert lines[start + 2 :] == [
        "- **failed (critical)** golden/support.jsonl:1 `late`",
        '  - expected `{"intent": "billing", "urgency": "low"}`',
        '  - got `{"intent": "bug", "urgency": "low"}`',
        "  - asked `About late.`",
        "- **missed** golden/support.jsonl:2 `crash`",
        "  - broken `json: does not begin with a JSON value: 'no'`",
        '  - expected `{"intent": "bug", "urgency": "high"}`',
        "  - got `no`",
        "  - asked `About crash.`",
        "",
    ]


def test_causes(project: Project) -> None:
    """Each cause has its share, what it was, the rows that would repair it and where to look."""
    project.record({"golden/late": WRONG, "adversarial/shouting": "no", "heldout/other": WRONG}, target="off")

    project.run(target="off")

    lines = summary(project)
    start = lines.index("`off` got 3 of 7 cases wrong (adversarial 1 of 2).")
    assert lines[start + 2 : start + 6] == [
        "- **2** wrong_label of intent (67 %, 1 critical)",
        "  - `bug given for billing` 2",
        "  - rows: 20-100 rows of intent billing that read like bug",
        "  - cases: golden/support.jsonl:1 `late`, heldout/support.jsonl:2 `other`",
    ]


def test_green_run(project: Project) -> None:
    """A green summary has the verdict, the gates and the arms, and no case."""
    project.run()

    lines = summary(project)
    assert lines[0] == "## ✅ Release passed: `cand`"
    assert sum(line.startswith("| ✓") for line in lines) == 3
    assert [line for line in lines if line.startswith("### ")] == ["### Gates", "### Arms", "### Labels"]


def test_published_gates_are_marked(project: Project) -> None:
    """A gate that release_gates added is told from one that stands in gates.toml."""
    gates = (project.path / "gates.toml").read_text(encoding="utf-8")
    project.write("gates.toml", gates.replace("primary =", 'release_gates = "default"\ntarget = 0.5\nprimary ='))

    project.run()

    lines = summary(project)
    assert any(line.startswith("| ✓ | `support-macro_f1[cand]` ᵖ |") for line in lines)
    assert any(line.startswith("| ✓ | `intent[cand]` |") for line in lines)
    assert (
        "ᵖ published gate of classification tasks, not written in gates.toml; a gate of your own there changes it."
        in lines
    )
    origins = {gate["name"]: gate["origin"] for gate in project.report["gates"]}
    assert origins["support-macro_f1"] == "published gate of classification tasks"
    assert origins["intent"] is None


def confusion(project: Project) -> list[str]:
    """Return the rows of the folded table of labels."""
    lines = summary(project)
    start = next(number for number, line in enumerate(lines) if line.startswith("<details><summary>Confusion"))
    return lines[start : lines.index("</details>", start)]


def test_confusion_of_the_primary_field(project: Project) -> None:
    """Labels that were taken for others stand in a folded table, over golden and held-out cases."""
    project.record({"golden/late": WRONG, "golden/crash": "no", "heldout/other": '{"intent": "x"}'}, target="off")

    project.run(target="off")

    assert confusion(project) == [
        "<details><summary>Confusion of intent on off (n = 5)</summary>",
        "",
        "| expected ↓ given → | `billing` | `bug` | `refund` | other | none |",
        "|---|---|---|---|---|---|",
        "| `billing` | **0** | 1 |  | 1 |  |",
        "| `bug` |  | **0** |  |  | 1 |",
        "| `refund` |  |  | **2** |  |  |",
        "",
    ]


def test_labels_in_the_report(project: Project) -> None:
    """report.json has confusion, rates of each label and calibration of every field."""
    text = '{"intent": "bug", "urgency": "low"}'
    ends = (10, 13, 16, len(text))  # the label "bug" is the second and third token
    logprobs = (0.0, -0.1, -0.1, 0.0)
    answers: dict[str, str | Generation] = {
        "golden/late": Generation(text, ends=ends, logprobs=logprobs),
        "golden/crash": Generation(text, ends=ends, logprobs=logprobs),
        "golden/money-back": "no",
    }

    detail = {one.field: one.to_json() for one in describe_labels(judged(project.path, {"off": answers}))}

    intent = detail["intent"]
    assert intent["confusion"] == {
        "labels": ["billing", "bug", "refund"],
        "matrix": [[0, 1, 0], [0, 1, 0], [0, 0, 0]],
        "other_label": [0, 0, 0],
        "no_label": [0, 0, 1],
    }
    assert intent["classes"] == [
        {"label": "billing", "n": 1, "fpr": 0.0, "fnr": 1.0},
        {"label": "bug", "n": 1, "fpr": 0.5, "fnr": 0.0},
        {"label": "refund", "n": 1, "fpr": 0.0, "fnr": 1.0},
    ]
    bins = intent["reliability"]["bins"]
    assert [one["n"] for one in bins] == [0, 0, 0, 0, 0, 0, 0, 0, 2, 0]
    assert bins[8] == {"low": 0.8, "high": 0.9, "n": 2, "confidence": 0.8187, "accuracy": 0.5}
    assert intent["reliability"]["ece"] == pytest.approx(0.3187, abs=1e-4)
    assert detail["urgency"]["primary"] is False


def test_cases_beyond_the_first_twenty_are_folded(project: Project) -> None:
    """Twenty cases stand in the open, up to two hundred in all."""
    names = [f"c{i}" for i in range(400)]
    project.write_cases("golden", *(project.case(name) for name in names))
    project.write_gates(form='metric = "json_parse_rate"\nmin = 0.9')
    project.record({f"golden/{name}": "no" for name in names}, target="off")

    project.run(target="off")

    lines = summary(project)
    start = lines.index("### Cases worth looking at (200 of 400)")
    fold = lines.index("<details><summary>180 more</summary>")
    assert sum(line.startswith("- **missed**") for line in lines[start:fold]) == 20
    assert sum(line.startswith("- **missed**") for line in lines[fold:]) == 180
    assert lines[-1] == "</details>"


def test_summary_stays_below_githubs_limit(project: Project) -> None:
    """However long answers are, summary.md stays under 1 MiB, cut at a line's end with its folds closed."""
    names = [f"c{i}" for i in range(200)]
    long = "\U000e0041" * 400  # each is shown as ten characters
    project.write_cases("golden", *(project.case(name, input=long) for name in names))
    project.write_gates(form='metric = "json_parse_rate"\nmin = 0.9')
    answers = {f"golden/{name}": long for name in names}

    text = build_markdown(judged(project.path, {f"t{i}": answers for i in range(2)}))

    assert 500_000 < len(text.encode()) <= MAX_BYTES + 200
    assert text.count("<details>") == text.count("</details>")
    assert_inert(text)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project with a baseline whose answers are hostile as well."""
    path = tmp_path_factory.mktemp("project")
    hostile: Any = SimpleNamespace(path=path)
    project = Project(hostile)
    project.write_gates(**REGRESSION)
    accept(project, {"golden/late": json.dumps({"intent": "billing", "urgency": "low", "![x](y)": "<b>@me"})})
    return path


@given(texts=st.lists(TEXTS, min_size=3, max_size=3), label=TEXTS)
def test_whatever_a_model_wrote_is_inert(folder: Path, texts: list[str], label: str) -> None:
    """Answers, labels and keys that a model chose are text: no link, image, tag, mention or heading."""
    answers = dict(zip(("golden/late", "golden/crash", "heldout/late"), texts, strict=True))
    answers["golden/money-back"] = json.dumps({"intent": label, "urgency": "low"})
    answers["heldout/other"] = json.dumps({"intent": "bug", "urgency": "low", label: label})

    outcome = judged(folder, {"cand": answers})

    assert_inert(build_markdown(outcome))
    for line, _ in summary_lines(outcome):
        assert not {unicodedata.category(character) for character in line} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
        assert not re.search(r"::[A-Za-z]|##\[", line)
