"""Say whether a text does what a criterion of a rubric asks for."""
