"""
Tell what a run found: as a document, as Markdown, as lines for the terminal.

Nothing here prints or writes; what a model wrote is made inert before it is shown (see :mod:`.escape`).
"""
