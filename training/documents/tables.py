"""Write Markdown tables of figures; what was not measured says so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

NOT_MEASURED = "not measured"

_LARGE = 1e4  # above it, four digits would hide some


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield a table; nothing of it where there is no row. Cells must be inert already."""
    if not rows:
        return
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def number(value: float | None, *, sign: bool = False) -> str:
    """Return a figure with as many digits as are worth reading."""
    if value is None:
        return NOT_MEASURED
    if float(value).is_integer():
        return format(value, f"{'+' if sign else ''}.0f")
    digits = ".3f" if abs(value) < 1 else ".4g" if abs(value) < _LARGE else ".0f"
    return format(value, f"{'+' if sign else ''}{digits}")


def counted(value: float | None) -> str:
    """Return a count."""
    return NOT_MEASURED if value is None else f"{value:.0f}"


def megabytes(value: float | None) -> str:
    """Return bytes in MB of 10^6 bytes."""
    return NOT_MEASURED if value is None else f"{value / 1e6:.2f}"


def between(interval: Sequence[float] | None, *, sign: bool = False) -> str:
    """Return an interval in brackets; nothing for none."""
    return "" if interval is None else f" [{number(interval[0], sign=sign)}, {number(interval[1], sign=sign)}]"
