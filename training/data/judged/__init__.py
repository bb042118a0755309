"""Turn answers of several models, and what judges gave them, into rows: merge, join, filter, split, select, augment."""
