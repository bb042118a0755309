"""
Hold every error that a user can meet.

::

    ModelgateError
    ├── ConfigurationError      a mistake in options, gates.toml or a model spec; pytest exit code 4
    │   ├── GatesFileError      gates.toml is wrong: file, table, what was got, what is valid
    │   ├── SpecError           a --model value cannot be understood, or names a file that is not a model
    │   ├── EmptySuiteError     a suite holds no case
    │   ├── SuitePathError      a suite's paths cannot be used: no pattern, or a file of another suite
    │   └── MissingExtraError   an optional dependency is not installed; names the extra
    ├── SuiteError              a bad line in a suite file: file, line, reason; pytest exit code 2
    ├── JournalError            a journal cannot be read or written
    └── EngineError             the engine or the harness is at fault, never the model
        ├── EngineStartError    the engine could not load its target
        ├── EngineDiedError     the engine's process died or hung; names the signal
        └── InputTooLongError   an input is longer than its task allows, and may not or cannot be shortened
"""

from __future__ import annotations

from pathlib import Path


class ModelgateError(Exception):
    """Base of every error that modelgate raises on purpose."""


class ConfigurationError(ModelgateError):
    """Report a mistake in options, gates.toml or a model spec."""


class GatesFileError(ConfigurationError):
    """Report a mistake in gates.toml."""


class SpecError(ConfigurationError):
    """Report a model spec that cannot be understood or does not name a usable model."""


class EmptySuiteError(ConfigurationError):
    """Report a suite without a single case."""


class SuitePathError(ConfigurationError):
    """Report a suite whose patterns are none, or match a file of another suite."""


class MissingExtraError(ConfigurationError):
    """Report an optional dependency that is not installed."""

    def __init__(self, needed_for: str, package: str, extra: str) -> None:
        super().__init__(
            f"{needed_for} needs {package}, which is not installed: pip install 'pytest-modelgate[{extra}]'"
        )


class SuiteError(ModelgateError):
    """Report a bad line in a suite file."""

    def __init__(self, path: Path | str, line: int, reason: str) -> None:
        super().__init__(f"{path}:{line}: {reason}")
        self.path = path
        self.line = line
        self.reason = reason


class JournalError(ModelgateError):
    """Report a journal that cannot be read or written."""


class EngineError(ModelgateError):
    """Report a fault of the engine or the harness: never counted as the model's mistake."""


class EngineStartError(EngineError):
    """Report an engine that could not load its target."""


class EngineDiedError(EngineError):
    """Report an engine process that died or stopped answering."""


class InputTooLongError(EngineError):
    """Report an input that is longer than its task allows and is not shortened."""
