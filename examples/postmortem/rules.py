"""Write a post-mortem from the first and the last lines of the timeline: the program that a tuned model has to beat."""

from __future__ import annotations

import re

LINE = re.compile(r"^\s*(\d{1,2}:\d{2})\s*-\s*(.+?)\.?\s*$", re.MULTILINE)
COMPONENT = re.compile(r"\b[a-z][a-z0-9]*(?:-[a-z0-9]+)+\b")


def answer(messages: list[dict[str, str]]) -> str:
    """Return one paragraph that strings together what the timeline says."""
    events = LINE.findall(messages[-1]["content"])
    if not events:
        return "The timeline tells of no incident, so there is no root cause to give."
    (start, first), (end, last) = events[0], events[-1]
    found = COMPONENT.search(messages[-1]["content"])
    component = found[0] if found else "the service"
    worse = f" It was made worse when, at {events[1][0]}, {_lower(events[1][1])}." if len(events) > 3 else ""  # noqa: PLR2004 (first, second, last and one between)
    return (
        f"{component} failed at {start} because {_lower(first)}.{worse} It was resolved at {end}: {_lower(last)}. "
        f"To prevent recurrence, the team will add an alert for {component}."
    )


def _lower(text: str) -> str:
    """Begin with a small letter, unless the first word is a name in capitals."""
    return text if text[:2].isupper() else text[:1].lower() + text[1:]
