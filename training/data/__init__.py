"""Turn files of rows into the rows that a model learns from: read, checked, cleaned, kept apart from the suites."""
