"""Answer the three incident prompts by keywords and quotes: the program that one tuned adapter has to beat."""

from __future__ import annotations

import re

EVIDENCE = re.compile(r"^E\d+ (\d{2}:\d{2})(?: <- [E\d,]+)? (.+?)(?: \[confidence [\d.]+\])?$", re.MULTILINE)
HOST = re.compile(r"host (\S+) \((\S+)\)")
LEVELS = (
    ("Critical", r"encrypt|ransom|\.lock|renamed|shadow copies|exfiltrat|GB out|GB to"),
    ("High", r"mimikatz|lsass|beacon|miner|new admin|persistence|service installed|reverse shell|dns tunnel"),
    ("Medium", r"failed log|brute|scan|blocked|denied|phish|exposed"),
)
LIKELY = {"Critical": "Certain", "High": "Likely", "Medium": "Possible", "Low": "Unlikely"}
PRIORITY = {"Critical": "P1", "High": "P2", "Medium": "P3", "Low": "P4"}


def answer(messages: list[dict[str, str]]) -> str:
    """Return the sections that the prompt asks for."""
    prompt = messages[-1]["content"]
    log = prompt[prompt.rfind("Incident ") :] if "Incident " in prompt else prompt
    events = EVIDENCE.findall(log) or [("00:00", "no evidence in the log")]
    found = HOST.search(log)
    host = f"{found[2]} ({found[1]})" if found else "the host"
    first = events[0][1]
    if messages[0]["role"] == "system":
        listed = "\n".join(f"- {time} {what}" for time, what in (events * 3)[: min(6, max(3, len(events)))])
        return (
            f"Summary: On {host} the log shows at {events[0][0]}: {first}. It ends at {events[-1][0]}: {events[-1][1]}.\n"
            f"Key Events:\n{listed}\nThreat Assessment: The activity on {host} should be looked at by an analyst."
        )
    level = next((name for name, pattern in LEVELS if re.search(pattern, log, re.IGNORECASE)), "Low")
    if "Risk Level:" in prompt:
        return (
            f"Risk Level: {level}\nJustification: The log of {host} shows {first}.\n"
            f"Business Impact: Work that depends on {host} may be disturbed.\n"
            f"Likelihood: {LIKELY[level]}\nPriority: {PRIORITY[level]}"
        )
    return (
        f"Malicious Activity:\n- An attacker on {host}: {first}\n"
        f"Legitimate Activity:\n- Planned work of an administrator on {host}\n"
        f"Misconfigurations:\n- Access to {host} is wider than its work needs\n"
        f"Conclusion: The most probable cause is the activity on {host} at {events[0][0]}."
    )
