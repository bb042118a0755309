"""Every vocabulary that llama.cpp keeps makes of its texts the tokens that the model's original tokenizer makes."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_modelgate.engines.llama import Vocabulary
from tests.parity.material import has_fixtures, material, tokenize_fixtures, vocabularies

FOLDER = material()
VOCABULARIES = vocabularies(FOLDER) if FOLDER else []
NOT_FETCHED = "llama.cpp's vocabularies are not here; fetch them once: modelgate-train fetch-converter --models"

pytestmark = [pytest.mark.slow, pytest.mark.model, pytest.mark.skipif(not VOCABULARIES, reason=NOT_FETCHED)]


@pytest.mark.parametrize("path", [path for path in VOCABULARIES if has_fixtures(path)], ids=lambda path: path.stem)
def test_texts_have_their_tokens(path: Path) -> None:
    """Each text beside a vocabulary has exactly the tokens beside it."""
    fixtures = tokenize_fixtures(path)
    assert len(fixtures) >= 40
    assert sum(len(one.expected) for one in fixtures) >= 300
    assert [one for one in fixtures if one.found != one.expected] == []


@pytest.mark.parametrize("path", [path for path in VOCABULARIES if not has_fixtures(path)], ids=lambda path: path.stem)
def test_vocabulary_without_texts(path: Path) -> None:
    """A vocabulary without texts beside it is opened, and makes tokens that stand for what was written."""
    vocabulary = Vocabulary(path)
    ids = vocabulary.tokenize(b"hello world")
    pieces = b"".join(vocabulary.token_bytes(token) for token in ids)
    vocabulary.close()
    assert pieces.strip().replace(b" ", b"") == b"helloworld"
