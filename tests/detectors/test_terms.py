"""Technical terms are told from plain words, and are kept letter for letter or not at all."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_modelgate.detectors.terms import count_terms, stands_in, technical_terms
from pytest_modelgate.judgement import JUDGE_SECONDS


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("payment-service and db_replica_2 failed", ["payment-service", "db_replica_2"]),
        ("claims.timeout_ms was 50 on router-4.", ["claims.timeout_ms", "router-4"]),
        (
            "see /etc/hosts, ./run.sh, --no-cache and .dockerignore",
            ["/etc/hosts", "./run.sh", "--no-cache", ".dockerignore"],
        ),
        ("ECONNREFUSED from PostgreSQL, GitHub and S3", ["ECONNREFUSED", "PostgreSQL", "GitHub", "S3"]),
        ("E1234, ORA-01555 and error 504", ["E1234", "ORA-01555", "504"]),
        ("https://example.org/a?b=c, then 10.0.0.1", ["https://example.org/a?b=c", "10.0.0.1"]),
        ("max_connections=100; use numpy==1.26.4", ["max_connections=100", "numpy==1.26.4"]),
        ("@types/node in core-feed and ad-pricing", ["@types/node", "core-feed", "ad-pricing"]),
        ("anti-cheat-svc and anti-cheat-svc again", ["anti-cheat-svc"]),
        ("At 14:02 on 2024-11-03 the 3rd of 20 pods used 300ms, 4GB, 80% and 0.2%", []),
        ("The on-call engineer made a long-running follow-up, e.g. by a well-known twenty-three", []),
        ("PLEASE HELP ME NOW WITH THIS THING", []),
        ("I AM OK and YES and/or NO at 2 p.m.", []),
        ("", []),
    ],
)
def test_technical_terms(text: str, terms: list[str]) -> None:
    """Identifiers, paths, versions and codes are terms; times, quantities and joined plain words are none."""
    assert technical_terms(text) == terms


@pytest.mark.parametrize(
    ("term", "text", "stands"),
    [
        ("db-1", "on db-1.", True),
        ("db-1", "on db-12", False),
        ("db-1", "on old-db-1", False),
        ("db-1", "on db-1-old", False),
        ("db-1", "on DB-1", False),
        ("--flag", "with --flag set", True),
        ("--flag", "with --flags set", False),
        (".env", "in .env, too", True),
        (".env", "in a.env", False),
    ],
)
def test_stands_in(term: str, text: str, stands: bool) -> None:
    """A term stands in a text whole and letter for letter."""
    assert stands_in(term, text) is stands


def test_count_terms() -> None:
    """Counted is what both the input and the reference hold."""
    given_input = "payment-service lost payments-db with ECONNREFUSED on host-7"
    reference = "payment-service could not reach payments-db (ECONNREFUSED); see runbook-12."

    assert count_terms("payment-service: ECONNREFUSED on host-7", given_input, reference) == (2, 3)
    assert count_terms("Payment-Service: econnrefused", given_input, reference) == (0, 3)
    assert count_terms("anything", "nothing technical", reference) == (0, 0)


@given(st.text(), st.text(), st.text())
def test_never_raises(text: str, input_text: str, reference: str) -> None:
    """At most all terms are kept."""
    kept, terms = count_terms(text, input_text, reference)

    assert 0 <= kept <= terms


@given(st.text())
def test_a_text_keeps_its_own_terms(text: str) -> None:
    """A copy keeps every term of the original."""
    kept, terms = count_terms(text, text, text)

    assert kept == terms


@pytest.mark.parametrize("unit", ["a", "a-", "a_", "1.", "http://", "//", "-", "Aa", "error ", "a-b "])
def test_a_megabyte_takes_no_time(unit: str) -> None:
    """Looping output is searched in time that grows with its length, not with its square, and within a judge's patience."""

    def seconds(letters: int) -> float:
        """Return the processor time of a text of so many letters."""
        text = unit * (letters // len(unit))
        started = time.process_time()
        technical_terms(text)
        count_terms(text, "db-1 and a_b", "db-1 and a_b")
        return time.process_time() - started

    small, large = seconds(125_000), seconds(1_000_000)
    assert large < JUDGE_SECONDS
    assert large < 24 * small + 0.2  # eight times the letters; by the square it would be 64 times
