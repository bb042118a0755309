"""Hold the training configurations that ship with the package."""
