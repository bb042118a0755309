"""
Hold the errors that a user of the training program can meet; each ends the program with one line.

::

    TrainingError
    ├── ConfigError   a mistake in the configuration or on the command line; exit code 4
    └── StageError    a stage could not do its work; exit code 1
"""

from __future__ import annotations


class TrainingError(Exception):
    """Base of every error that the training program raises on purpose."""

    exit_code = 1


class ConfigError(TrainingError):
    """Report a mistake in the configuration or on the command line."""

    exit_code = 4


class StageError(TrainingError):
    """Report a stage that could not do its work."""
