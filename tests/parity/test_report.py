"""What docs/parity.md says is what is measured."""

from __future__ import annotations

import pytest

from tests.parity.material import material
from tests.parity.write_report import PATH, report

FOLDER = material()


@pytest.mark.slow
@pytest.mark.model
@pytest.mark.skipif(FOLDER is None, reason="the material is not here: modelgate-train fetch-converter --models")
def test_page_is_as_measured() -> None:
    """The page is written from the same measurement, other versions of the libraries aside."""
    assert FOLDER is not None
    measured, written = report(FOLDER), PATH.read_text(encoding="utf-8")
    assert without_versions(written) == without_versions(measured)


def test_page_reports_no_difference() -> None:
    """Neither a template nor a vocabulary differs, in the page that is shipped."""
    written = PATH.read_text(encoding="utf-8")
    assert ", 0 different.**" in written
    rows = [line.split("|") for line in written.partition("## Vocabularies")[2].splitlines() if line.startswith("|")]
    counts = [(int(texts), int(equal)) for _, _, texts, _, equal, _ in rows[2:]]
    assert len(counts) >= 15
    assert all(texts == equal for texts, equal in counts)


def without_versions(text: str) -> list[str]:
    """Return the lines of a page but the one that names versions."""
    return [line for line in text.splitlines() if not line.startswith("Measured with ")]
