"""Make or load the base, check every label, and train the adapter."""
