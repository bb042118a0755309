"""A Modelfile is read as Ollama reads it, and what Ollama refuses is told with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_modelgate.errors import ConfigurationError
from pytest_modelgate.modelfile.parse import parse_modelfile, read_modelfile, weights_digest


def parsed(text: str) -> list[tuple[str, str, str, int]]:
    """Return the instructions of a text as tuples."""
    return [(one.name, one.key, one.value, one.line) for one in parse_modelfile(text).instructions]


def test_every_instruction_is_read() -> None:
    """Names in any case, comments and empty lines between them, each with the line where it begins."""
    text = (
        '# a comment\nFROM ./x.gguf\n\n  # another\ntemplate {{ .Prompt }}\nSystem Be brief.  \nPARAMETER stop "<|end|>"\n'
        "parameter num_ctx\t 4096\nADAPTER ./lora.gguf\nMESSAGE user Hello # there\nLICENSE MIT\nRENDERER x\nPARSER y\n"
        "REQUIRES 0.6.0\n"
    )
    assert parsed(text) == [
        ("FROM", "", "./x.gguf", 2),
        ("TEMPLATE", "", "{{ .Prompt }}", 5),
        ("SYSTEM", "", "Be brief.", 6),
        ("PARAMETER", "stop", "<|end|>", 7),
        ("PARAMETER", "num_ctx", "4096", 8),
        ("ADAPTER", "", "./lora.gguf", 9),
        ("MESSAGE", "user", "Hello # there", 10),
        ("LICENSE", "", "MIT", 11),
        ("RENDERER", "", "x", 12),
        ("PARSER", "", "y", 13),
        ("REQUIRES", "", "0.6.0", 14),
    ]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ('"""one line"""', "one line"),
        ('"""\nFROM no\n# no comment\n"""', "\nFROM no\n# no comment\n"),
        ('"""a "quoted" word"""', 'a "quoted" word'),
        ('"one\ntwo"', "one\ntwo"),
        ('"an \\"escape"', 'an \\"escape'),
        ('""""""', ""),
        ('an "inner" quote', 'an "inner" quote'),
        ("'single'", "'single'"),
    ],
)
def test_quotes(written: str, value: str) -> None:
    """A value in quotes goes on until they close at a line's end; nothing is escaped in it."""
    assert [one.value for one in parse_modelfile(f"FROM x\nSYSTEM {written}\nPARAMETER seed 1\n").all("SYSTEM")] == [
        value
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "M: no FROM line"),
        ("# FROM x\n", "M: no FROM line"),
        ("FROM x\nPARAMETR stop x\n", "M:2: 'PARAMETR' is no instruction (did you mean 'PARAMETER'?); known are FROM,"),
        ("FROM\n", "M:1: FROM has no value"),
        ("FROM x\n\nSYSTEM\n", "M:3: SYSTEM has no value"),
        ('FROM x\nTEMPLATE """a\nb\n', 'M:2: TEMPLATE: the value begins with """ and is never closed'),
        ('FROM x\nSYSTEM "a\n', 'M:2: SYSTEM: the value begins with " and is never closed'),
        ("FROM x\nPARAMETER stop\n", "M:2: PARAMETER stop has no value"),
        ('FROM x\nPARAMETER stop ""\n', "M:2: PARAMETER has no value"),
        ("FROM x\nPARAMETER a-b 1\n", "M:2: PARAMETER 'a-b': a name has letters"),
        ("FROM x\nMESSAGE tool Hi\n", "M:2: MESSAGE is from 'tool'; valid are system, user, assistant"),
        ("FROM x\nYou are helpful.\n", "M:2: 'You' is no instruction"),
    ],
)
def test_what_ollama_refuses(text: str, told: str) -> None:
    """One line, with the file, the line and what is valid."""
    with pytest.raises(ConfigurationError) as caught:
        parse_modelfile(text, "M")
    assert str(caught.value).startswith(told)
    assert "\n" not in str(caught.value)


def test_the_last_of_several_counts() -> None:
    """Of several TEMPLATEs and of one parameter the last is taken; stops are all taken."""
    found = parse_modelfile("FROM x\nTEMPLATE a\nTEMPLATE b\nPARAMETER top_k 1\nPARAMETER top_k 2\n"
                            "PARAMETER stop a\nPARAMETER stop b\n")  # fmt: skip
    last, top = found.last("TEMPLATE"), found.parameter("top_k")
    assert (last and last.value, top and top.value, found.stops) == ("b", "2", ("a", "b"))
    assert last is not None
    assert found.where(last) == "Modelfile:3"
    assert found.last("SYSTEM") is found.parameter("seed") is None


@pytest.mark.parametrize(
    ("value", "is_digest"),
    [("@sha256:" + "a" * 64, True), ("/x/blobs/sha256-" + "0" * 64, True), ("sha256-12", False), ("llama3", False)],
)
def test_weights_named_by_content(value: str, is_digest: bool) -> None:
    """Both forms in which Ollama names a file by its sha256 are known."""
    assert (weights_digest(value) is not None) == is_digest


def test_files_that_are_no_text(tmp_path: Path) -> None:
    """A byte order mark and Windows' line ends are read, other encodings and missing files refused."""
    path = tmp_path / "Modelfile"
    path.write_bytes(b"\xef\xbb\xbfFROM ./x.gguf\r\nSYSTEM Hi.\r\n")
    assert [one.value for one in read_modelfile(path).instructions] == ["./x.gguf", "Hi."]
    path.write_bytes(b"FROM \xff")
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        read_modelfile(path)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_modelfile(tmp_path / "none")


@given(st.text(st.characters(exclude_characters='"', exclude_categories=["Cs"])))
def test_any_text_without_quotes_comes_back(text: str) -> None:
    """What is written in three quotes is read letter by letter."""
    assert parse_modelfile(f'FROM x\nSYSTEM """{text}"""\n').all("SYSTEM")[0].value == text


@given(st.text())
def test_no_text_breaks_the_reader(text: str) -> None:
    """Whatever stands in a file, it is read or refused in one line."""
    try:
        parse_modelfile(text)
    except ConfigurationError as error:
        assert "\n" not in str(error)  # noqa: PT017
