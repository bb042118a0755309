"""Hold the small support model that ships with the package: ``--model demo``."""
