"""
Write judged incidents of the published shape: 961, 826, 532 + 270 and 826 records, of which 750 are good enough.

Of the 826 that have causes and risks, 24 were never judged on summaries, and 52 break a rule: one each of nine kinds, in
turn. 6 of those 52 break it on the summary alone, and 4 of the 24 break none, so that 10 have good causes and risks yet
are not among the 750. All is drawn with one seed.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

MODELS = ("quartz-7b", "basalt-8b", "flint-14b")
LEVELS = ("Critical", "High", "Medium", "Low")
LONG_LOGS = 12
SEED = 11

RULES: dict[str, Any] = {
    "summary": {"score": 4, "tokens": [50, 400]},
    "cause": {"score": 14, "tokens": [50, 600]},
    "risk": {"score": 10, "tokens": [30, 300], "label": list(LEVELS)},
}
BROKEN_ANALYSES = ("cause score", "cause short", "cause long", "risk score", "risk short", "risk long", "risk label")
BROKEN_SUMMARIES = ("summary score", "summary short", "summary long")

_WORDS = (
    "host", "port", "scan", "beacon", "share", "ticket", "admin", "backup", "login", "window", "evidence", "transfer",
    "alert", "firmware", "service", "printer", "camera", "gateway", "account", "session",
)  # fmt: skip


def config(**changed: Any) -> dict[str, Any]:
    """Return the published pipeline; ``changed`` replaces keys of its last step, ``augment``."""
    return {
        "sources": {
            "logs": "logs.jsonl",
            "analyses": "analyses.jsonl",
            "judges_1": "judges-1.jsonl",
            "judges_2": "judges-2.jsonl",
            "analysis_judges": {"path": "analysis-judges.jsonl", "key": "incident"},
        },
        "tasks": {
            "summary": {
                "input": "logs.dag",
                "responses": "logs.summaries",
                "scores": "summary_judges.scores",
                "scale": 10,
            },
            "cause": {
                "input": "analyses.dag",
                "responses": "analyses.cause",
                "scores": "analysis_judges.cause",
                "scale": 30,
            },
            "risk": {
                "input": "analyses.dag",
                "responses": "analyses.risk",
                "scores": "analysis_judges.risk",
                "scale": 30,
                "same_model_as": "cause",
            },
        },
        "input_tokens": 3500,
        "steps": [
            {"merge_judgements": {"tables": ["judges_1", "judges_2"], "to": "summary_judges"}},
            {
                "join": {
                    "tables": ["logs", "analyses", "summary_judges", "analysis_judges"],
                    "required": ["summary_judges", "analysis_judges"],
                }
            },
            {"filter": {"rules": RULES}},
            {"split": {"share": 0.1, "seed": 42}},
            {"select": {}},
            {
                "augment": {
                    "tables": ["analyses", "analysis_judges"],
                    "tasks": ["cause", "risk"],
                    "rules": {name: RULES[name] for name in ("cause", "risk")},
                    **changed,
                }
            },
        ],
    }


def write_sources(folder: Path) -> None:
    """Write the five files."""
    rng = random.Random(SEED)  # noqa: S311 (nothing secret is drawn)
    ids = [f"inc-{number:04}" for number in range(1, 962)]
    rng.shuffle(ids)
    analysed, judged = ids[:826], ids[:802]
    broken: dict[str, str] = {}
    for number, incident in enumerate(judged[:52]):
        kinds = BROKEN_SUMMARIES if number < 6 else BROKEN_ANALYSES
        broken[incident] = kinds[number % len(kinds)]
    for number, incident in enumerate(ids[802:822]):
        broken[incident] = BROKEN_ANALYSES[number % len(BROKEN_ANALYSES)]
    long = set(ids[100 : 100 + LONG_LOGS])
    dags = {incident: _dag(incident, 460 if incident in long else 4, rng) for incident in ids}
    logs = []
    for incident in sorted(ids):
        _, summaries = _answers(broken.get(incident, ""), "summary", rng)
        logs.append({"incident_id": incident, "dag": dags[incident], "summaries": summaries})
    analyses, scores = [], []
    for incident in rng.sample(analysed, len(analysed)):
        kind = broken.get(incident, "")
        cause_scores, causes = _answers(kind, "cause", rng)
        risk_scores, risks = _answers(kind, "risk", rng)
        analyses.append({"incident_id": incident, "dag": dags[incident], "cause": causes, "risk": risks})
        scores.append({"incident": incident, "cause": cause_scores, "risk": risk_scores})
    judgements = []
    for incident in rng.sample(judged, len(judged)):
        best = 3 if broken.get(incident) == "summary score" else rng.randint(4, 10)
        judgements.append({"incident_id": incident, "scores": _scores(best, rng, parts=1)})
    write(folder / "logs.jsonl", logs)
    write(folder / "analyses.jsonl", analyses)
    write(folder / "judges-1.jsonl", judgements[:532])
    write(folder / "judges-2.jsonl", judgements[532:])
    write(folder / "analysis-judges.jsonl", rng.sample(scores, len(scores)))


def write(path: Path, records: Iterable[dict[str, Any]]) -> None:
    """Write JSONL."""
    path.write_text("".join(f"{json.dumps(record)}\n" for record in records), encoding="utf-8")


def _answers(broken: str, task: str, rng: random.Random) -> tuple[dict[str, Any], dict[str, str]]:
    """Return scores and answers by model; all answers break what ``broken`` names, if that is of this task."""
    what = broken.removeprefix(f"{task} ") if broken.startswith(f"{task} ") else ""
    least, most = {"summary": (50, 400), "cause": (50, 600), "risk": (30, 300)}[task]
    length = {"short": least - 1, "long": most + 1}.get(what)
    texts = {}
    for model in MODELS:
        words = length if length is not None else rng.randint(least, least + 40)
        begin = "Risk Level: " + ("unclear" if what == "label" else rng.choice(LEVELS)) if task == "risk" else model
        texts[model] = " ".join([begin, *rng.choices(_WORDS, k=words - len(begin.split()))])
    floor = {"summary": 4, "cause": 14, "risk": 10}[task]
    best = floor - 1 if what == "score" else rng.randint(floor, 30)
    return _scores(best, rng, parts=3), texts


def _scores(best: int, rng: random.Random, parts: int) -> dict[str, Any]:
    """Return a score for each model: ``best`` for one, no more for the others; of three parts, as three judged traits."""
    totals = [best, *(rng.randint(0, best) for _ in MODELS[1:])]
    rng.shuffle(totals)
    if parts == 1:
        return dict(zip(MODELS, totals, strict=True))
    return {
        model: {"grounding": total // 3, "coverage": (total + 1) // 3, "clarity": (total + 2) // 3}
        for model, total in zip(MODELS, totals, strict=True)
    }


def _dag(incident: str, lines: int, rng: random.Random) -> str:
    """Return a log; with 460 lines it has more than 3,500 words."""
    return "\n".join(
        [f"Incident {incident}"]
        + [f"E{number} {number % 60:02} <- E{max(1, number - 1)} {' '.join(rng.choices(_WORDS, k=6))}"
           for number in range(1, lines + 1)]
    )  # fmt: skip
