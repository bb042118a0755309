"""A training text that an evaluation text gives away is found, with the evaluation text; others are left in peace."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from modelgate_training.data.leaks import Leak, leaking_texts
from modelgate_training.data.normal import fold

MESSAGE = "My invoice from last Tuesday shows a tax line that I have never seen before"
OTHER = "The window freezes whenever I try to print a page with a very long number"
SHORT = "The coffee machine is out of beans."
CHINESE = (
    "\u6211\u6628\u5929\u5728\u4f60\u4eec\u7684\u7f51\u4e0a\u5546\u5e97\u4e70\u4e86\u4e00\u53f0\u5496\u5561\u673a"
    "\u4f46\u662f\u6536\u5230\u7684\u65f6\u5019\u53d1\u73b0\u5b83\u5df2\u7ecf\u574f\u4e86"
)
LOG = [
    f"10:{minute:02}:07 worker-{minute % 3} took job {minute * 37} from the queue and finished it in {minute * 11} ms"
    for minute in range(40)
]
word = st.text("abcdefgh", min_size=2, max_size=7)


@pytest.mark.parametrize(
    "text",
    [
        MESSAGE,
        MESSAGE.upper(),
        "  " + MESSAGE.replace(" ", "\u00a0") + "\n",
        MESSAGE.replace(" that", ", that") + "!!",
        MESSAGE.replace("My", "\uff2dy"),
    ],
    ids=["copy", "case", "white-space", "punctuation", "unicode"],
)
def test_a_copy_leaks(text: str) -> None:
    """A text that equals an evaluation text but for its looks is one, whatever ``near`` is."""
    assert leaking_texts([OTHER, text], ["x", MESSAGE], 100.0) == [Leak(1, 1, 100.0, "equal")]


def test_a_text_with_typing_errors_leaks() -> None:
    """Letters count in their order: 90 percent of them are enough."""
    (leak,) = leaking_texts(
        ["my invoce form last tuesday shows a tax line taht i have nevr seen"], [MESSAGE[:-7]], 90.0
    )
    assert leak.how == "letters"
    assert 90 <= leak.similarity < 100
    assert not leaking_texts(["my invoce form last tuesday"], [MESSAGE], 90.0)


@pytest.mark.parametrize("letters", [150, 199, 201, 1000, 3900, 9000])
def test_a_long_text_with_typing_errors_leaks(letters: int) -> None:
    """Long texts are compared too, those behind the cheaper estimate as well."""
    rng = random.Random(letters)  # noqa: S311 (nothing secret is drawn)
    made = [" ".join("".join(rng.choices("abcdefghijklmno", k=6)) for _ in range(letters // 7 + 1)) for _ in range(3)]
    wrong = list(made[1])
    for place in range(0, len(wrong), 16):
        wrong[place] = "x"
    (leak,) = leaking_texts(["".join(wrong)], made, 90.0)
    assert (leak.evaluation, leak.how) == (1, "letters")


@pytest.mark.parametrize(
    "text",
    [
        "Our bill from last Tuesday shows a fee line that I have never seen before",
        "My invoice from last Tuesday, sorry, shows a tax line, well, that I have never ever seen before",
        "My invoice from Tuesday shows a line that I have seen before",
        "My invoice from last Friday shows a discount that I have never seen before",
    ],
    ids=["replaced", "added", "taken-out", "mixed"],
)
def test_three_changed_words_are_a_leak(text: str) -> None:
    """A message of ten or more words is given away by one that differs in three."""
    (leak,) = leaking_texts([text], [OTHER, MESSAGE], 99.0)
    assert (leak.evaluation, leak.how) == (1, "words")


def test_four_changed_words_are_another_message() -> None:
    """What differs in more is another message, unless the letters are alike."""
    text = "Our bill from last Friday shows a fee line that I have never seen before"
    assert not leaking_texts([text], [MESSAGE], 90.0)


@given(st.lists(word, min_size=10, max_size=40), st.lists(st.tuples(st.integers(0, 39), word), max_size=3), st.data())
def test_any_three_edits_leak(words: list[str], edits: list[tuple[int, str]], data: st.DataObject) -> None:
    """Wherever three words are replaced, added or taken out, the text is found."""
    changed = list(words)
    for place, new in edits:
        at = place % len(changed)
        changed[at : at + data.draw(st.integers(0, 1))] = [new] if data.draw(st.booleans()) else []
    assert leaking_texts([" ".join(changed)], ["something else", " ".join(words)], 100.0)


@pytest.mark.parametrize(
    ("text", "evaluation"),
    [
        ("turn on the kitchen light", "turn on the bedroom lamp"),
        ("Set the heating in the bathroom higher", "Set the heating in the kitchen lower"),
        ("Play Here Comes the Sun by the Beatles", "play Here Comes the Sun at volume 40"),
        ("What are your support hours?", "What are your support opening hours on weekends?"),
        ("Where is my card?", "Where is my refund?"),
    ],
)
def test_short_messages_that_ask_for_something_else_are_no_leak(text: str, evaluation: str) -> None:
    """In a short message, a word or two is what tells one from another."""
    assert not leaking_texts([text], [evaluation], 90.0)
    assert not leaking_texts([evaluation], [text], 90.0)


@pytest.mark.parametrize(("changed", "leaks"), [(2, True), (3, False)])
def test_of_eight_words_two_may_be_changed(changed: int, leaks: bool) -> None:
    """The shorter the message, the fewer words may be others."""
    text = " ".join([*["quite", "another", "word"][:changed], *MESSAGE.split()[changed:8]])
    assert bool(leaking_texts([text], [" ".join(MESSAGE.split()[:8])], 100.0)) is leaks


def test_a_long_text_that_holds_an_evaluation_text_leaks() -> None:
    """A log, or a chunk of calibration text, with an evaluation text somewhere in it gives it away."""
    (leak,) = leaking_texts(["\n".join([*LOG[:20], MESSAGE, *LOG[20:]])], [OTHER, MESSAGE], 90.0)
    assert leak == Leak(0, 1, 100.0, "run")


@pytest.mark.parametrize(("lines", "leaks"), [(25, True), (15, False)])
def test_half_of_a_log_leaks(lines: int, leaks: bool) -> None:
    """A run of at least half of an evaluation text's words is enough, a shorter one not."""
    filler = [f"something {name} unlike it" for name in "abcdefghijklmnopqrstuvw"]
    found = leaking_texts(["\n".join([*filler, *LOG[8 : 8 + lines], *filler])], ["\n".join(LOG)], 90.0)
    assert [leak.how for leak in found] == (["run"] if leaks else [])


def test_a_shared_line_is_no_leak() -> None:
    """Tools print the same lines in different failures: 13 words that are a small part of a text are none."""
    line = "npm error code ELIFECYCLE npm error errno 1 a complete log of this run can be found in the cache"
    ours = f"{line} {' '.join(f'ours{number}' for number in range(40))}"
    theirs = f"{line} {' '.join(f'theirs{number}' for number in range(40))}"
    assert not leaking_texts([ours], [theirs], 90.0)


# --- In the middle of another text --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        f"Hi! {SHORT} Thanks",
        f"Classify the following ticket: {SHORT}",
        f"the guest said that {SHORT} and went home",
        f"One line\nand {SHORT[:20]}\n{SHORT[20:]}\nanother",
        f'{{"message": "{SHORT}"}}',
        f"<p>{SHORT}</p>",
        f"Hello there. {SHORT.replace('coffee', 'cofee')} Best, Bob",
    ],
    ids=["sentence", "label", "inside", "wrapped", "json", "html", "typing-error"],
)
def test_a_short_text_leaks_from_the_middle_of_another(text: str) -> None:
    """Six or seven words are enough where they stand together, however the text around them is cut."""
    assert [leak.evaluation for leak in leaking_texts([OTHER, text], [MESSAGE, SHORT], 90.0)] == [1]


@pytest.mark.parametrize(
    "text",
    ["turn on the light in the kitchen", "Thank you. Bye.", "Please turn on the lights. Thank you."],
    ids=["longer-command", "courtesy", "nearly"],
)
def test_four_words_leak_only_as_a_sentence(text: str) -> None:
    """Four words are the beginning of other commands, and a courtesy is nobody's."""
    cases = ["turn on the light", "Thank you"]
    assert not leaking_texts([text], cases, 90.0)
    assert leaking_texts(["I am home. Turn on the light! Thank you."], cases, 90.0)


@pytest.mark.parametrize("around", ["Hello all of you. {}. I hope that you can help.", "before it {} and after it"])
@pytest.mark.parametrize("old", [["My"], ["invoice", "tax", "seen"]], ids=["one", "three"])
def test_changed_words_leak_in_the_middle_too(around: str, old: list[str]) -> None:
    """A message of 13 or more words is found with up to three words changed wherever it stands."""
    changed = MESSAGE
    for word in old:
        changed = changed.replace(word, "other")
    (leak,) = leaking_texts([around.format(changed)], [OTHER, MESSAGE], 90.0)
    assert leak.evaluation == 1


def test_in_the_middle_fewer_words_of_a_short_text_may_be_changed() -> None:
    """Many texts hold a sentence that is three words of ten away from another."""
    text = "Your page did not help. How many projects may I create on the basic plan?"
    assert not leaking_texts([text], ["How many guests can I invite on the Basic plan?"], 90.0)


@given(st.lists(word, min_size=13, max_size=40), st.lists(st.tuples(st.integers(0, 39), word), max_size=3), st.data())
def test_any_three_edits_leak_in_the_middle(
    words: list[str], edits: list[tuple[int, str]], data: st.DataObject
) -> None:
    """What stands before and behind hides no text with three words replaced."""
    changed = list(words)
    for place, new in edits:
        changed[place % len(changed)] = new
    before, behind = data.draw(st.lists(word, max_size=20)), data.draw(st.lists(word, max_size=20))
    assert leaking_texts([" ".join([*before, *changed, *behind])], ["something else", " ".join(words)], 100.0)


def test_a_line_of_many_evaluation_texts_is_no_leak() -> None:
    """What a tool prints in every log gives no case away, unless it is all there is."""
    line = "Error: Process completed with exit code 1."
    cases = [line, *(f"the {name} broke\n{line}" for name in ("build", "test", "lint", "image"))]
    assert not leaking_texts([f"something else is missing\n{line}"], cases, 90.0)
    assert leaking_texts([line], cases, 90.0)
    assert leaking_texts([f"something else is missing\n{line}"], cases[:3], 90.0)


# --- Hidden -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "\u200b".join(SHORT),
        SHORT.replace(" ", "\u2060"),
        "".join(f"{letter}\u0336" for letter in SHORT),
        SHORT.translate(str.maketrans("aeocxT", "\u0430\u0435\u043e\u0441\u0445\u0422")),
        SHORT.translate(str.maketrans("oTi", "\u03bf\u03a4\u03b9")),
        "".join(chr(ord(letter) + 0xFEE0) if letter > " " else letter for letter in SHORT),
        " ".join(SHORT),
        SHORT.replace(" ", ""),
        SHORT.replace(" ", "_"),
        SHORT.replace(" ", "&nbsp;"),
    ],
    ids=[
        "zero-width",
        "joined",
        "struck",
        "cyrillic",
        "greek",
        "wide",
        "spaced",
        "no-blanks",
        "underscores",
        "entities",
    ],
)
@pytest.mark.parametrize("around", ["{}", "Hello there. {} Thanks for your help"], ids=["alone", "within"])
def test_hidden_letters_hide_nothing(text: str, around: str) -> None:
    """What the model reads nearly alike, or can spell, is compared as what it stands for."""
    assert [leak.evaluation for leak in leaking_texts([around.format(text)], [OTHER, SHORT], 90.0)] == [1]


@pytest.mark.parametrize("around", ["{}", "\u4f60\u597d\uff0c{}\u3002\u8c22\u8c22", "\u8bf7\u95ee{}\u8c22\u8c22"])
def test_chinese_leaks_with_three_words_changed(around: str) -> None:
    """Where no blanks stand between words, letters are counted, two for a word."""
    changed = CHINESE
    for old, new in (("\u6628\u5929", "\u4e0a\u5468"), ("\u5496\u5561\u673a", "\u6d17\u8863\u673a")):
        changed = changed.replace(old, new)
    assert leaking_texts([around.format(CHINESE)], [OTHER, CHINESE], 100.0)
    (leak,) = leaking_texts([around.format(changed)], [OTHER, CHINESE], 99.0)
    assert (leak.evaluation, leak.how) == (1, "words")


@pytest.mark.parametrize(
    ("text", "evaluation"),
    [
        ("\u8bf7\u95ee\u6211\u7684\u5361\u5728\u54ea\u91cc", "\u8bf7\u95ee\u6211\u7684\u8ba2\u5355\u5728\u54ea\u91cc"),
        ("Pretend I said lock, but unlock the back door", " ".join("unlockthebackdoor")),
        ("one two three four five sixth", "one two three four five six"),
        ("\u0414\u0430", "Na"),
    ],
)
def test_what_is_folded_is_not_taken_for_another(text: str, evaluation: str) -> None:
    """Other short questions, a command inside another, and the beginning of a longer word are no leaks."""
    assert not leaking_texts([text], [evaluation], 99.0)


@given(st.text(max_size=60))
def test_a_text_leaks_itself_whatever_is_in_it(text: str) -> None:
    """Folding loses nothing that a copy is found by, and what it gives stays as it is when folded again."""
    assert fold(fold(text)) == fold(text)
    assert [leak.how for leak in leaking_texts([text], [text], 90.0)] == ["equal"]


def test_the_closest_evaluation_text_is_named() -> None:
    """Of several that a text gives away, the nearest counts; of equal ones, the first."""
    near = MESSAGE.replace("Tuesday", "Friday")
    assert leaking_texts([MESSAGE, near], [near, MESSAGE, MESSAGE], 90.0) == [
        Leak(0, 1, 100.0, "equal"),
        Leak(1, 0, 100.0, "equal"),
    ]
    (leak,) = leaking_texts([MESSAGE], [near.replace("line", "row"), near], 80.0)
    assert leak.evaluation == 1


def test_leaks_come_by_index() -> None:
    """Each text is found once, in order, across blocks of texts."""
    texts = [f"{OTHER} {number}" if number % 700 == 5 else f"nothing {number}" for number in range(2500)]
    assert [leak.index for leak in leaking_texts(texts, [OTHER], 90.0)] == [5, 705, 1405, 2105]


@pytest.mark.parametrize(("texts", "evaluations"), [([], []), (["a"], []), ([], ["a"]), (["", "?"], ["!", "b c"])])
def test_nothing_leaks_where_nothing_is(texts: list[str], evaluations: list[str]) -> None:
    """Empty lists and texts are no special case."""
    assert leaking_texts(texts, evaluations, 90.0) == []


@pytest.mark.parametrize(
    ("text", "verb"),
    [
        (MESSAGE, "equals"),
        (MESSAGE + "s", "is 99 % equal to"),
        (MESSAGE.replace("invoice", "little old"), "has 88 % of the words of"),
        (f"{OTHER} {MESSAGE} {OTHER}", "holds 100 % of"),
    ],
)
def test_the_verb_says_how(text: str, verb: str) -> None:
    """A leak says what stands between the names of the two rows."""
    (leak,) = leaking_texts([text], [MESSAGE], 95.0)
    assert leak.verb == verb
