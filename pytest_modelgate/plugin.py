"""
Connect modelgate to pytest.

Without ``--model`` only the options are registered. With it, two objects are: a collector, which turns cases into
items and runs them, and, in the process that decides, a controller, which gathers records and judges gates. Nothing
heavy is imported here, because every pytest run in the environment imports this module.
"""

from __future__ import annotations

from collections.abc import Generator

import pytest

from pytest_modelgate.options import (
    SHORT_NAMES,
    add_options,
    add_short_names,
    is_asked_for,
    join_values,
    mislead_pytest,
    values_of_short_names,
)

taken_key = pytest.StashKey[list[str]]()
"""The short names on the command line that a conftest or another plugin has for itself."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register the options."""
    add_options(parser)


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(
    early_config: pytest.Config, parser: pytest.Parser, args: list[str]
) -> Generator[None]:
    """Leave the short names to conftests that want them, and import none from a model's folder."""
    namespace = early_config.known_args_namespace
    values = values_of_short_names(args)
    namespace.file_or_dir = [path for path in namespace.file_or_dir if path not in values]
    yield
    early_config.stash[taken_key] = add_short_names(parser, args)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | pytest.ExitCode | None:
    """Start over with ``--model=PATH`` where ``--model PATH`` made pytest take a model's folder for the project."""
    given = config.invocation_params
    arguments = [str(argument) for argument in given.args]
    if is_asked_for(config) and mislead_pytest(arguments, given.dir):
        return pytest.main(join_values(arguments), plugins=given.plugins)
    return None


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Start no more workers than there are targets to run."""
    if not is_asked_for(config):
        return None
    from pytest_modelgate.xdist import auto_workers

    return auto_workers(config)


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say that a short name was not understood as modelgate's."""
    return [
        f"modelgate: {name} is another plugin's option here; {SHORT_NAMES[name]} judges a release"
        for name in config.stash.get(taken_key, [])
    ]


def pytest_configure(config: pytest.Config) -> None:
    """Check everything and register the plugin's objects if a target is to be judged."""
    config.addinivalue_line("markers", "modelgate: a case of a release suite")
    config.addinivalue_line("markers", "critical: a release case that must not be wrong")
    if is_asked_for(config):
        from pytest_modelgate.activation import activate

        activate(config)
