"""
Connect modelgate to pytest.

Without ``--model`` only the options are registered. With it, two objects are: a collector, which turns cases into
items and runs them, and, in the process that decides, a controller, which gathers records and judges gates. Nothing
heavy is imported here, because every pytest run in the environment imports this module.
"""

from __future__ import annotations

import pytest

from pytest_modelgate.options import add_options, is_asked_for


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Register the options; short names only where the command line uses them."""
    config = pluginmanager.get_plugin("pytestconfig")
    add_options(parser, tuple(str(argument) for argument in config.invocation_params.args) if config else ())


def pytest_configure(config: pytest.Config) -> None:
    """Check everything and register the plugin's objects if a target is to be judged."""
    config.addinivalue_line("markers", "modelgate: a case of a release suite")
    config.addinivalue_line("markers", "critical: a release case that must not be wrong")
    if is_asked_for(config):
        from pytest_modelgate.activation import activate

        activate(config)
