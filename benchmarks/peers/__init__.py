"""Answer the same requests with other programs, each in an environment of its own."""
