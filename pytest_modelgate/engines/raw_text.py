"""Learn what a model writes by itself, beside what a grammar makes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from pytest_modelgate.engines import Result
from pytest_modelgate.records import Failure, Generation, Request

__all__ = ["with_raw_texts"]


def with_raw_texts(
    requests: Sequence[Request], run: Callable[[Sequence[Request]], Iterator[Result]]
) -> Iterator[Result]:
    """
    Yield what ``run`` makes of ``requests``, every generation under a grammar with its ``raw_text``.

    ``run`` gives a generation under a grammar its text as ``raw_text`` where the grammar never changed a choice, and None
    where it did. Only those are asked for once more without the grammar, all together, when the others are done; times
    and tokens stay those of the answer under the grammar. One whose raw text cannot be had is a failure: it would count
    as if the grammar hid nothing.
    """
    asked = {request.key: request for request in requests}
    overridden: dict[str, Generation] = {}
    for key, result in run(requests):
        settings = asked[key].generation
        if settings is None or settings.grammar is None or isinstance(result, Failure) or result.raw_text is not None:
            yield key, result
        else:
            overridden[key] = result
    free = []
    for key in overridden:
        settings = asked[key].generation
        assert settings is not None  # noqa: S101  # it has a grammar
        free.append(replace(asked[key], generation=settings.without_grammar()))
    for key, raw in run(free) if free else ():
        if isinstance(raw, Failure):
            yield key, replace(raw, message=f"without its grammar: {raw.message}")
        else:
            yield key, replace(overridden[key], raw_text=raw.text)
