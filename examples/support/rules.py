"""Label support messages by keywords: the deterministic program that a tuned model has to beat."""

from __future__ import annotations

import json
import re

INTENTS = (
    ("cancellation", r"\bcancel|\bterminate\b|\bclose my account\b|\bstop my (plan|subscription)"),
    ("refund_request", r"\brefund|\bmoney back\b|\breimburse"),
    ("account_access", r"\bpassword\b|\blog ?in\b|\blogin\b|\bsign in\b|\blocked out\b|\b2fa\b|\bverification code\b"),
    ("billing", r"\binvoice|\bcharged?\b|\bbill(ed|ing)?\b|\bpayment|\bfee\b|\bprice\b|\bvat\b"),
    ("feature_request", r"\bcould you add\b|\bwould love\b|\bfeature\b|\bwish\b|\bplease add\b|\bsupport for\b"),
    ("technical_issue", r"\bcrash|\berror\b|\bbug\b|\bbroken\b|\bdoes(n't| not) work\b|\bnothing\b|\bslow\b|\bfreez"),
    ("complaint", r"\bdisappoint|\bunacceptable\b|\bno reply\b|\bterrible\b|\bworst\b|\brude\b"),
)
ANGRY = r"\bunacceptable\b|\bterrible\b|\bworst\b|\bagain\b.*!|\bstill\b|\bthird time\b|\bridiculous\b|!!"
UNHAPPY = r"\bnot\b|n't\b|\bnever\b|\bwrong\b|\bproblem\b|\bissue\b|\bfail|\bcrash|\berror\b"
GLAD = r"\bthank|\blove\b|\bgreat\b|\bawesome\b|\bplease add\b"
HIGH = r"\burgent|\basap\b|\bimmediately\b|\btoday\b|\blocked out\b|\bcharged twice\b|\brefund"
MEDIUM = r"\berror\b|\bcrash|\bdoes(n't| not) work\b|\bpassword\b|\binvoice\b"


def answer(messages: list[dict[str, str]]) -> str:
    """Return the labels of the last message as JSON."""
    text = messages[-1]["content"].casefold()

    def holds(pattern: str) -> bool:
        return re.search(pattern, text) is not None

    intent = next((name for name, pattern in INTENTS if holds(pattern)), "general_question")
    sentiment = (
        "frustrated" if holds(ANGRY) else "positive" if holds(GLAD) else "negative" if holds(UNHAPPY) else "neutral"
    )
    urgency = "high" if holds(HIGH) else "medium" if holds(MEDIUM) else "low"
    return json.dumps({"intent": intent, "sentiment": sentiment, "urgency": urgency})
