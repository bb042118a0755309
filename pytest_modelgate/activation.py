"""Start modelgate in a pytest run that has targets to judge."""

from __future__ import annotations

import pytest

from pytest_modelgate import carried, xdist
from pytest_modelgate.acceptance import check_acceptable
from pytest_modelgate.clearing import Preflight
from pytest_modelgate.collect import Collector
from pytest_modelgate.controller import Controller
from pytest_modelgate.errors import ConfigurationError
from pytest_modelgate.options import Settings, read_settings
from pytest_modelgate.preflight.release import check_table
from pytest_modelgate.progress import ProgressLine
from pytest_modelgate.release import Release, load_release, load_rules
from pytest_modelgate.report.files import clear_old_report, prepare_folder
from pytest_modelgate.specs import parse_specs


def activate(config: pytest.Config) -> None:
    """
    Load and check the release, then register what this process needs.

    A mistake in options, gates.toml or a model spec ends the run here, in one line, with exit code 4.
    """
    try:
        settings = read_settings(config)
    except ConfigurationError as error:
        raise pytest.UsageError(str(error)) from None
    if not xdist.is_worker(config):
        _prepare_out(settings, keep_report=config.option.collectonly)
    try:
        rules = load_rules(settings.gates)
        specs = parse_specs(
            list(settings.models),
            config.invocation_params.dir,
            controls=settings.controls,
            references=settings.references,
            baseline=settings.baseline_model,
            declared=rules.gates_file.controls,
            root=rules.gates_file.root,
        )
        threads = xdist.threads_of_this_process(config, len(specs))
        release = load_release(rules, specs, settings.out, n_threads=threads, serial=settings.serial)
        _refuse_gate_ids(config, release)
        check_table(release)
        if settings.accept is not None:
            check_acceptable(release)
    except ConfigurationError as error:
        raise pytest.UsageError(str(error)) from None
    _choose_what_to_collect(config, release)
    for suite in release.gates_file.suites:
        config.addinivalue_line("markers", f"{suite}: a case of the {suite} suite")
    line = None if xdist.is_worker(config) else ProgressLine(config)
    config.pluginmanager.register(carried, "modelgate-carried")
    config.pluginmanager.register(Collector(release, settings, line), "modelgate-collector")
    if line is not None:
        config.pluginmanager.register(line, "modelgate-progress")
    if not xdist.is_worker(config):
        preflight = Preflight(config, release, settings)
        config.pluginmanager.register(Controller(config, release, settings, preflight), "modelgate-controller")
        config.pluginmanager.register(preflight, "modelgate-preflight")
        config.pluginmanager.register(xdist.OneWorkerPerTarget(release), "modelgate-xdist")


def _refuse_gate_ids(config: pytest.Config, release: Release) -> None:
    """Say that a gate cannot be selected: it is a verdict over cases, not an item."""
    gates_name = release.gates_file.path.name
    for argument in config.args:
        if argument.split("::")[0].endswith(gates_name):
            raise ConfigurationError(
                f"{argument}: gates are judged over the whole run and cannot be selected; "
                f"run without it, or select cases such as {release.cases[0].location.split(':')[0]}::{release.cases[0].id}"
                if release.cases
                else f"{argument}: gates are judged over the whole run and cannot be selected"
            )


def _prepare_out(settings: Settings, *, keep_report: bool) -> None:
    """Make the folder; an earlier run's verdict must not be mistaken for this one's, however this one ends."""
    try:
        prepare_folder(settings.out)
        if not keep_report:
            clear_old_report(settings.out)
    except OSError as error:
        raise pytest.UsageError(f"{settings.out}: cannot be written: {error.strerror}") from None


def _choose_what_to_collect(config: pytest.Config, release: Release) -> None:
    """Make the suites the only thing to collect, unless the command line names paths."""
    broken = [file for file in release.files if file.error]
    if broken:
        # Whatever was selected: no gate can be judged, so that collecting these ends the run with their errors.
        xdist.stay_in_this_process(config)
        config.args = [str(file.path) for file in broken]
    elif config.args_source is not pytest.Config.ArgsSource.ARGS:
        config.args = [str(file.path) for file in release.files]
