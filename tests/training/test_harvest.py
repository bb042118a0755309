"""A production log becomes candidates for the suites: masked, judged, unlike each other, reviewed before they count."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from modelgate_training.cli import main
from modelgate_training.data.diversity import Unlike
from modelgate_training.data.harvest import HarvestResult, harvest

from pytest_modelgate.cases import Case, CaseRules, load_suites
from tests.rendering import FORBIDDEN, LIVE, parse
from tests.training.conftest import GATES, Project
from tests.training.planted import planted

BILLING, BUG = '{"intent": "billing"}', '{"intent": "bug"}'
BROKEN = "I think that this is about billing."
QUESTIONS = (
    "Why was I charged two times for the garden chair in March?",
    "Printing a wide table stops after page four.",
    "Is there a discount for schools and libraries?",
    "My colleague's avatar shows a stranger!",
    "Please delete everything that you know of my late uncle.",
    "Cannot hear anybody in video calls since Monday",
)


def entry(text: str, output: str = BUG, **more: Any) -> dict[str, Any]:
    """Return a line of a log."""
    return {"input": text, "output": output, **more}


@pytest.fixture
def reap(project: Project) -> Callable[..., HarvestResult]:
    """Return what writes a log and harvests it."""

    def run(lines: Iterable[dict[str, Any]], sample: int = 50, seed: int = 0, out: str = "harvest") -> HarvestResult:
        project.write_rows("production.jsonl", lines)
        root = project.path
        return harvest(root / "production.jsonl", root / out, root / "gates.toml", sample, seed)

    return run


def cases(project: Project, out: str = "harvest") -> list[dict[str, Any]]:
    """Return the candidates."""
    lines = (project.path / out / "candidates.jsonl").read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines if line]


def review(project: Project) -> str:
    """Return the page to review them."""
    return (project.path / "harvest" / "review.md").read_text(encoding="utf-8")


# --- What failed -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "cause"),
    [
        ({"output": BROKEN}, "contract"),
        ({"output": '{"intent": "weather"}'}, "contract"),
        ({"output": BUG, "finish_reason": "length"}, "truncated"),
        ({"output": "the bill " * 60}, "looping"),
        ({"output": BUG, "corrected": {"intent": "billing"}}, "corrected"),
        ({"output": BUG, "corrected": BILLING}, "corrected"),
        ({"output": BUG, "expected": {"intent": "billing"}}, "corrected"),
        ({"output": BUG, "feedback": "bad"}, "negative-feedback"),
    ],
)
def test_a_failure_becomes_a_candidate_with_its_cause(
    project: Project, reap: Callable[..., HarvestResult], more: dict[str, Any], cause: str
) -> None:
    """A broken contract, a cut, a loop, a correction and bad feedback are failures; the tag says which."""
    result = reap([{"input": QUESTIONS[0], **more}])
    (case,) = cases(project)
    assert case["input"] == QUESTIONS[0]
    assert case["tags"][0] == "harvested"
    assert cause in case["tags"]
    assert sum(result.failures.values()) == 1


def test_a_right_answer_is_no_failure(reap: Callable[..., HarvestResult]) -> None:
    """An answer that keeps the contract and that somebody liked, or wrote the same in its place, did not fail."""
    result = reap(
        [
            entry(QUESTIONS[0], BILLING, feedback="good"),
            entry(QUESTIONS[1], BUG, corrected={"intent": "bug"}),
            entry(QUESTIONS[2], '{"intent":  "billing"}', corrected=BILLING),
        ]
    )
    assert result.failures == {}


def test_only_a_correction_is_an_expected_answer(project: Project, reap: Callable[..., HarvestResult]) -> None:
    """What the model answered is never taken for right."""
    reap([entry(QUESTIONS[0], BUG, corrected=BILLING), entry(QUESTIONS[1], BUG, feedback="bad")])
    expected = {case["input"]: case.get("expected") for case in cases(project)}
    assert expected == {QUESTIONS[0]: {"intent": "billing"}, QUESTIONS[1]: None}


@pytest.mark.parametrize("corrected", ["this is about money", {"intent": "weather"}, {"topic": "billing"}])
def test_a_correction_that_the_task_does_not_allow_is_shown_only(
    project: Project, reap: Callable[..., HarvestResult], corrected: Any
) -> None:
    """It is a failure all the same, and a reviewer sees it; the case has no expected answer yet."""
    reap([entry(QUESTIONS[0], BUG, corrected=corrected)])
    (case,) = cases(project)
    assert "expected" not in case
    assert "corrected" in case["tags"]
    assert "does not allow as an answer" in review(project)


RUBRIC = {"criteria": [{"name": "thanks", "regex": "(?i)thank"}, {"name": "short", "length": {"max": 20}}]}


def test_an_answer_below_its_rubric_is_a_failure(project: Project, reap: Callable[..., HarvestResult]) -> None:
    """A text breaks no contract and may still do too little of what its task asks for."""
    (project.path / "rubric.json").write_text(json.dumps(RUBRIC), encoding="utf-8")
    gates = GATES.replace('kind = "classification"', 'kind = "rubric"').replace(
        'fields = ["intent"]', 'rubric = "rubric.json"'
    )
    gates = gates.replace('schema = "schema.json"\n', "").replace("schema_validity", "rubric_pass_rate")
    (project.path / "gates.toml").write_text(gates.replace("accuracy.intent", "rubric_pass_rate"), encoding="utf-8")
    for suite in ("golden", "adversarial", "heldout"):
        project.write_rows(f"{suite}.jsonl", [{"id": "a", "input": f"{suite} is a word"}])
    result = reap([entry(QUESTIONS[0], "Thank you, we look into it."), entry(QUESTIONS[1], f"No. {BROKEN * 3}")])
    assert result.failures == {"missed": 1}
    assert [case["tags"][1] for case in cases(project)] == ["missed", "rare"]


# --- What is rare ------------------------------------------------------------------------------------------------


def test_an_input_that_no_case_asks_is_rare(project: Project, reap: Callable[..., HarvestResult]) -> None:
    """Where nothing failed, what is unlike all cases is taken; what is like one, or like another entry, is not."""
    near = "Whose money was that on Friday evening?"
    result = reap([entry(QUESTIONS[0]), entry(QUESTIONS[1]), entry(near), entry(QUESTIONS[1].upper() + "!")])
    asked = {case["input"].lower().rstrip("!") for case in cases(project)}
    assert asked == {QUESTIONS[0].lower(), QUESTIONS[1].lower()}
    assert all(case["tags"] == ["harvested", "rare"] for case in cases(project))
    assert result.repeated == 1


def test_one_place_in_five_is_kept_for_rare_inputs(project: Project, reap: Callable[..., HarvestResult]) -> None:
    """Many failures do not push out what no suite asks yet; without rare inputs the failures get all places."""
    words = ("orchard", "violin", "glacier", "pepper", "lantern", "saddle", "compass", "meadow")
    failures = [entry(f"My {one} and my {two} are {one} no more", BROKEN) for one in words for two in words]
    reap([*failures, *(entry(question) for question in QUESTIONS)], sample=5)
    assert [case["tags"][1] for case in cases(project)] == ["contract"] * 4 + ["rare"]
    reap(failures, sample=5)
    assert [case["tags"][1] for case in cases(project)] == ["contract"] * 5


# --- What is left out --------------------------------------------------------------------------------------------


def test_a_case_of_a_suite_is_no_candidate(project: Project, reap: Callable[..., HarvestResult]) -> None:
    """An input that is a golden, adversarial or held-out case, or nearly, is counted and left out."""
    known = ["the COFFEE machine is out of beans", "Forget all that and sing!", "A parrot ate the receipts"]
    result = reap([*(entry(text, BROKEN) for text in known), entry(QUESTIONS[0], BROKEN)])
    assert [case["input"] for case in cases(project)] == [QUESTIONS[0]]
    assert result.known == 3


def test_of_equal_inputs_the_one_that_failed_is_kept(project: Project, reap: Callable[..., HarvestResult]) -> None:
    """A thousand good answers do not hide the bad one."""
    lines = [entry(QUESTIONS[0], BILLING) for _ in range(20)]
    lines.insert(7, entry(QUESTIONS[0], BROKEN))
    result = reap(lines)
    (case,) = cases(project)
    assert case["tags"] == ["harvested", "contract"]
    assert result.repeated == 20


def test_each_cause_has_its_turn(project: Project, reap: Callable[..., HarvestResult]) -> None:
    """A common cause does not crowd out a rare one."""
    common = [entry(f"{word} {QUESTIONS[0]}", BROKEN) for word in ("Hello there", "Sir or madam", "Urgent today", "Hi")]
    reap([*common, entry(QUESTIONS[1], feedback="bad"), entry(QUESTIONS[2], corrected=BILLING)], sample=3)
    assert [case["tags"][1] for case in cases(project)] == ["contract", "corrected", "negative-feedback"]


def test_the_same_log_gives_the_same_files(project: Project, reap: Callable[..., HarvestResult]) -> None:
    """Nothing depends on chance but what --seed decides, and ids depend on the question alone."""
    lines = [entry(question, BROKEN if n % 2 else BUG) for n, question in enumerate(QUESTIONS)]
    reap(lines, out="one", seed=3)
    reap(lines, out="two", seed=3)
    reap(list(reversed(lines)), out="three", seed=4)
    for name in ("candidates.jsonl", "review.md"):
        assert (project.path / "one" / name).read_bytes() == (project.path / "two" / name).read_bytes()
    ids = [{case["input"]: case["id"] for case in cases(project, out)} for out in ("one", "three")]
    assert ids[0] == ids[1]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ({"input": "x"}, "'output' is missing"),
        ({"output": BUG}, "'input' or 'messages' is missing"),
        ({"input": "x", "output": BUG, "task": "tikets"}, "task is unknown"),
        ({"input": "x", "output": BUG, "feedback": "meh"}, "good or bad"),
        ({"input": "x", "output": BUG, "feedback": ["bad"]}, "good or bad"),
        ({"messages": [], "output": BUG}, "at least one turn"),
        ({"messages": [{"role": "system", "content": "Label the message."}], "output": BUG}, "no turn is the user's"),
    ],
)
def test_a_line_that_is_no_entry_is_counted_with_its_reason(
    reap: Callable[..., HarvestResult], line: dict[str, Any], reason: str
) -> None:
    """The others are harvested; nothing that stands in the line is quoted."""
    result = reap([line, entry(QUESTIONS[0], BROKEN)])
    ((said, count),) = result.unreadable.items()
    assert reason in said
    assert "tikets" not in said
    assert (result.read, count) == (1, 1)


# --- Forms of a log ----------------------------------------------------------------------------------------------


def test_a_chat_is_stripped_of_what_the_task_puts_around_it(
    project: Project, reap: Callable[..., HarvestResult]
) -> None:
    """A case asks what the user asked: the task's own system text goes, and the answer in the chat is the output."""
    turns = [
        {"role": "system", "content": "Label the message."},
        {"role": "user", "content": QUESTIONS[0]},
        {"role": "assistant", "content": BROKEN},
    ]
    reap([{"messages": turns}])
    (case,) = cases(project)
    assert case["input"] == QUESTIONS[0]
    assert "    I think that this is about billing." in review(project).split("\n")


def test_a_chat_of_several_turns_stays_one(project: Project, reap: Callable[..., HarvestResult]) -> None:
    """A question that hangs on what was said before is a case of messages."""
    turns = [
        {"role": role, "content": text} for role, text in zip(["user", "assistant", "user"], QUESTIONS, strict=False)
    ]
    reap([{"messages": turns, "output": BROKEN}])
    (case,) = cases(project)
    assert case["messages"] == turns


def test_candidates_are_cases_of_the_gate(project: Project, reap: Callable[..., HarvestResult]) -> None:
    """The gate reads the file as it is, also under the names that a task's own files use."""
    gates = project.path / "gates.toml"
    gates.write_text(
        GATES.replace(
            'fields = ["intent"]', 'fields = ["intent"]\ncolumns = {id = "no", input = "text", expected = "label"}'
        )
    )
    for suite in ("golden", "adversarial", "heldout"):
        rows = [{"no": "a", "text": f"{suite} is a word", "label": {"intent": "bug"}}]
        project.write_rows(f"{suite}.jsonl", rows)
    reap([{"text": QUESTIONS[0], "output": BUG, "corrected": BILLING}, entry(QUESTIONS[1], BROKEN)])
    columns = {"tickets": {"id": "no", "input": "text", "expected": "label"}}
    (file,) = load_suites({"new": ["harvest/candidates.jsonl"]}, project.path, CaseRules(("tickets",), columns))
    assert file.error is None
    assert {case.prompt: case.has_expected for case in file.cases} == {QUESTIONS[0]: True, QUESTIONS[1]: False}
    assert all(isinstance(case, Case) and case.id.startswith("harvested-") for case in file.cases)


def test_other_keys_are_not_taken_up(project: Project, reap: Callable[..., HarvestResult]) -> None:
    """Who asked, when and from where stays in the log."""
    reap([entry(QUESTIONS[0], BROKEN, user="u-8812", time="2026-01-02T03:04:05Z", shop={"id": "s-77"})])
    assert set(cases(project)[0]) == {"id", "task", "input", "tags"}
    written = "".join(path.read_text() for path in (project.path / "harvest").iterdir())
    assert not any(word in written for word in ("u-8812", "2026-01-02", "s-77"))


# --- Privacy -----------------------------------------------------------------------------------------------------


def test_no_secret_of_a_log_is_written_or_printed(
    project: Project, reap: Callable[..., HarvestResult], capsys: pytest.CaptureFixture[str]
) -> None:
    """Secrets in an input, an output or a correction are masked everywhere; kinds are counted, values are nowhere."""
    secrets = planted(seed=5)
    lines = []
    for number, (kind, text, _) in enumerate(secrets):
        question = f"{QUESTIONS[number % 6]} {kind} number {number}"
        lines.append(entry(f"{question}: {text}", f"You wrote {text}", feedback="bad"))
    lines.append(entry("Something else is broken", BROKEN, corrected=f"it is {secrets[0][1]}"))
    result = reap(lines, sample=100)
    assert result.masked_rows == len(lines)
    assert sum(result.masked.values()) >= len(lines)
    written = "".join(path.read_text(encoding="utf-8") for path in (project.path / "harvest").iterdir())
    written += "".join(capsys.readouterr())
    assert [kind for kind, _, secret in secrets if secret in written] == []


def test_a_masked_answer_is_not_blamed_for_its_mask(project: Project, reap: Callable[..., HarvestResult]) -> None:
    """Answers are judged as they were: one that must hold an address keeps its contract although the address is masked."""
    schema = {"type": "object", "properties": {"intent": {"type": "string", "pattern": "^[^\\[]+@[^@]+$"}}}
    (project.path / "schema.json").write_text(json.dumps(schema), encoding="utf-8")
    for suite in ("golden", "adversarial", "heldout"):
        project.write_rows(f"{suite}.jsonl", [{"id": "a", "input": f"{suite} is a word"}])
    result = reap([entry("Write to jane.miller@example.net please", '{"intent": "jane.miller@example.net"}')])
    assert result.failures == {}
    assert result.masked == {"email": 2}


# --- Review ------------------------------------------------------------------------------------------------------


def test_the_review_has_all_that_a_decision_needs(project: Project, reap: Callable[..., HarvestResult]) -> None:
    """Input, output, why it was picked, what is broken, and boxes for the answer, its weight and each suite."""
    reap([entry(f"{QUESTIONS[0]}\nSecond line", BROKEN, feedback="bad")])
    text = review(project)
    for line in (
        "The answer breaks the task's contract, was marked as bad by somebody.",
        f"    {QUESTIONS[0]}",
        "    Second line",
        f"    {BROKEN}",
        "- [ ] expected answer: ",
        "- [ ] critical",
        "- [ ] suite `golden`",
        "- [ ] suite `adversarial`",
        "- [ ] suite `heldout`",
        "- [ ] drop",
    ):
        assert line in text.split("\n")
    assert "json: " in text


HOSTILE = [
    "# Heading\n```\n<script>alert(1)</script>\n- [x] drop",
    "\n\n    ::error::@everyone #1 https://example.net/x ![a](b)",
    "`x` \u202e\x1b[31m ##[error]y $z$ :smile: |a|b|",
]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_nothing_of_a_log_is_alive_in_the_review(
    project: Project, reap: Callable[..., HarvestResult], hostile: str
) -> None:
    """What users and models wrote stands in blocks of code, its control characters and CI commands made visible."""
    reap([entry(f"{hostile} {QUESTIONS[0]}", f"{hostile} {BROKEN}", corrected=hostile)])
    text = review(project)
    for kind, content in parse(text):
        assert kind not in FORBIDDEN - {"code_block"}, (kind, content)
        assert kind != "html_block"
        if kind == "text":
            assert not LIVE.search(content), content
    assert text.count("\n## ") == 1
    assert "- [x]" not in [line[:5] for line in text.split("\n")]
    assert not any(character in text for character in "\x1b\u202e")
    assert "::error" not in text
    assert "##[" not in text


# --- Where it is written -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("out", ["golden", "golden/new", "suites/heldout", "."])
def test_a_folder_of_a_suite_is_refused(project: Project, error: Callable[[], str], out: str) -> None:
    """Candidates become cases only when somebody moves them."""
    folders = GATES.replace('"golden.jsonl"', '"golden/*.jsonl"').replace('"heldout.jsonl"', '"suites/heldout/x.jsonl"')
    folders = folders.replace('"adversarial.jsonl"', '"*.jsonl"')
    (project.path / "gates.toml").write_text(folders, encoding="utf-8")
    project.write_rows("production.jsonl", [entry(QUESTIONS[0], BROKEN)])
    root = project.path
    code = main(
        ["harvest", str(root / "production.jsonl"), "--out", str(root / out), "--gates", str(root / "gates.toml")]
    )
    assert code == 4
    assert "reviewed before they are cases" in error()
    assert not list(root.rglob("candidates.jsonl"))


def test_the_folder_of_a_training_file_is_allowed(project: Project, reap: Callable[..., HarvestResult]) -> None:
    """Beside train.jsonl nothing is in the way, and nothing there is touched."""
    before = (project.path / "train.jsonl").read_bytes()
    reap([entry(QUESTIONS[0], BROKEN)], out=".")
    assert len(cases(project, ".")) == 1
    assert (project.path / "train.jsonl").read_bytes() == before


@pytest.mark.parametrize("name", ["candidates.jsonl", "review.md"])
def test_an_edited_file_is_never_overwritten(project: Project, reap: Callable[..., HarvestResult], name: str) -> None:
    """What harvest wrote is written anew; what somebody changed, or another program wrote, stays."""
    reap([entry(QUESTIONS[0], BROKEN)])
    reap([entry(QUESTIONS[1], BROKEN)])
    assert [case["input"] for case in cases(project)] == [QUESTIONS[1]]
    path = project.path / "harvest" / name
    path.write_text(path.read_text() + "- [x] drop\n")
    before = path.read_bytes()
    arguments = ["--out", str(path.parent), "--gates", str(project.path / "gates.toml")]
    assert main(["harvest", str(project.path / "production.jsonl"), *arguments]) == 4
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ({"log": "none.jsonl"}, 4, "no such file"),
        ({"log": "gates.toml"}, 4, "a production log is a .jsonl file"),
        ({"--out": "system.txt"}, 4, "is a file, not a folder"),
        ({"--gates": "none.toml"}, 4, "no such gates file"),
        ({"--sample": "0"}, 4, "--sample must be at least 1"),
        ({"log": "empty.jsonl"}, 1, "no line is an entry"),
        ({"log": "wrong.jsonl"}, 1, "1 key 'output' is missing"),
        ({"--out": "system.txt/x"}, 1, "cannot be written"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    project: Project, error: Callable[[], str], change: dict[str, str], code: int, message: str
) -> None:
    """A wrong log, folder, gates file or number ends the program without a traceback, and nothing is written."""
    project.write_rows("production.jsonl", [entry(QUESTIONS[0], BROKEN)])
    project.write_rows("empty.jsonl", [])
    project.write_rows("wrong.jsonl", [{"input": "x"}])
    given_ = {"log": "production.jsonl", "--out": "harvest", "--gates": "gates.toml", **change}
    paths = {name: value if name == "--sample" else str(project.path / value) for name, value in given_.items()}
    log = paths.pop("log")
    assert main(["harvest", log, *(part for option in paths.items() for part in option)]) == code
    assert message in error()
    assert not (project.path / "harvest").exists()


# --- Unlike ------------------------------------------------------------------------------------------------------


def test_the_farthest_text_is_of_another_cluster() -> None:
    """Of many alike texts and a few others, one of each kind is picked before any kind comes again."""
    texts = [f"the printer on floor {n} is out of paper again" for n in range(30)]
    texts += [f"invoice {n} names the wrong street and town" for n in range(5)]
    texts += ["por favor cancelen mi cuenta"]
    unlike = Unlike(texts, [])
    picked: list[int] = []
    for _ in range(3):
        picked.append(unlike.farthest([place for place in range(len(texts)) if place not in picked]))
        unlike.pick(picked[-1])
    assert {min(place // 30 + (place >= 35), 2) for place in picked} == {0, 1, 2}


@given(st.lists(st.text(min_size=1, max_size=30), min_size=1, max_size=12))
def test_a_known_text_is_at_no_distance(texts: list[str]) -> None:
    """A text is no distance from itself, and no text is farther than one from any."""
    unlike = Unlike(texts, texts[:1])
    assert unlike.distance(0) == 0.0
    assert all(0.0 <= unlike.distance(place) <= 1.0 for place in range(len(texts)))
