"""Rules of a section: what counts as naming what stands in the input, and as telling somebody to do something."""

from __future__ import annotations

import pytest

from pytest_modelgate.detectors.generic import action, mentions_input

GO = "internal/router/router.go:57:14: undefined: middleware.WithTrace\nError: Process completed with exit code 1."
JUNIT = "at org.cloudberry.tariff.ZoneTest.islandsCostExtra(ZoneTest.java:58)\nexpected: <12.50> but was: <9.90>"
LOG = "E1 08:01 STUN requests from 71 notebooks to 203.0.113.160\nE5 09:34 all streams end, 18,400 packets lost"
STAMPS = "2025-02-11T08:00:01.1140021Z\n2025-02-11T08:00:02.6391107Z"


@pytest.mark.parametrize(
    ("text", "given", "named"),
    [
        ("router.go does not know middleware.WithTrace.", GO, 2),
        ("internal/router/router.go does not compile, see router.go.", GO, 1),
        ("The test islandsCostExtra gives 9.90 instead of 12.50.", JUNIT, 3),
        ("ZoneTest.islandsCostExtra fails.", JUNIT, 1),
        ("It is a lesson between 08:01 and 09:34.", LOG, 2),
        ("18,400 packets went to 203.0.113.160.", LOG, 3),
        ("In 71 cases nothing could be found.", LOG, 0),
        ("The error was an error of the process.", "old-db-1 is full.", 0),
        ("The host db-1 is gone.", "old-db-1 is full.", 0),
        ("It happened at 08:00:01.", STAMPS, 0),
    ],
)
def test_what_counts(text: str, given: str, named: int) -> None:
    """Terms count whole or by a part, figures as written, words in any form; whole numbers and time stamps do not."""
    padded = f"{given} Quokka, zebra, walrus."

    assert mentions_input(named)(text, padded)
    assert not mentions_input(named + 1)(text, padded)


@pytest.mark.parametrize("given", ["", STAMPS, "--:-- -"])
def test_an_input_without_content_asks_for_nothing(given: str) -> None:
    """What an input does not hold cannot be named."""
    assert mentions_input(2)("The log is empty.", given)


@pytest.mark.parametrize(
    "text",
    [
        "Indent env in line 24 by one more space so that it stands below run.",
        "Declare fuseau in afficher_heure, or pass it to the function as a parameter.",
        "Add find_package(ZLIB REQUIRED) to the CMakeLists.txt of src.",
        "Run as root.",
        "Downgrade it. Re-run the job.",
    ],
)
def test_a_fix_tells_what_to_do(text: str) -> None:
    """Imperatives of the trade are instructions, whatever names follow them."""
    assert action()(text, "")


@pytest.mark.parametrize(
    "text", ["Rate limits held.", "The package is not declared.", "Run times are long.", "Fix:", ""]
)
def test_a_statement_tells_nobody(text: str) -> None:
    """What is so is no instruction."""
    assert not action()(text, "")
