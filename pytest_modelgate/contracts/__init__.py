"""
Check one output against the rules that it must obey.

A contract is pure: text or a value in, violations out; it knows nothing of engines, cases or pytest.
"""
