"""
Check a target against what it was made from, before or without generating anything.

Each module holds the checks of one stage: ``static`` (files and headers), ``tokenizer`` (prompts as text and ids),
``weights`` (tensors as stored), ``logits`` (the loaded model on given answers). ``cause`` names the likeliest cause of
what they found.
"""
