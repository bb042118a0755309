"""Tell what stands in the place of a secret, or says where it comes from, from the secret itself."""

from __future__ import annotations

import re

# A name as programs have it. Digits stand only in names that are written as such: $DB_2 is a variable, $ecret99 is not.
_NAME = r"(?:[A-Z_][A-Z0-9_]*|[A-Za-z_][A-Za-z_. :-]*|[a-z]+(?:_[a-z]+)*_\d|[a-z]+(?:_[a-z]+)+\d|\d)"

# Each is a whole value: what merely begins like one may be a password.
_PLACEHOLDER = re.compile(
    rf"\W{{0,3}}|(.)\1*|[*.#\u2022\u2026\u25cf -]*|[xX]{{3,}}(?:[-_ .]+[xX]{{2,}})*[-_ .]?\d{{0,4}}|\u2026\w*|\.{{3}}\w*"
    rf"|\$\{{?{_NAME}\}}?|\$\{{{_NAME}:?[-=?+].*\}}|\$\(\w+(?:[ ].*|\))?"  # of a shell
    rf"|%{_NAME}%|%[a-z]|%\({_NAME}\)[a-z]|%\{{{_NAME}\}}"  # of Windows and of formats
    rf"|[$#]?\{{+[ ]*[$.]?{_NAME}[ ]*\}}*|\$?\{{\{{.*|<%.*"  # of templates
    rf"|<{_NAME}>|\({_NAME}\)?|\[{_NAME}\]?|\*+{_NAME}\*+"  # of people, and of this program
)
_SOURCE = re.compile(
    r"(?i)\w+://.*|[a-z_][\w.]*\([^!#%&?]*|[a-z_]+(?:\.[a-z_]+)+|/[a-z_]+|(?:~|\.{0,2})(?:/[a-z_.][\w.-]*){2,}/?"
    r"|[a-z]:\\.*|(?:your|my|the)(?:[_-][a-z]+)+(?:[_-]?\d)?"
)
_FILE_OR_VERSION = re.compile(r"(?i)v?\d+(?:\.\d+)+\S*|\S+\.[a-z]{2,5}")
_WORD = re.compile(
    r"(?i)(?:null|none|nil|true|false|undefined|empty|redacted|hidden|masked|change_?me|example|string|required|missing"
    r"|invalid|incorrect|wrong|expired|not|reset|unset|updated|changed|optional|unknown|denied|failed|failure|error|please"
    r"|thanks|help|now|forgotten|lost|vergessen|falsch|abgelaufen|ung\u00fcltig)"
)


def is_placeholder(value: str) -> bool:
    """Say whether a value is a variable, a blank to be filled in, or marks alone."""
    return _PLACEHOLDER.fullmatch(value) is not None


def is_reference(value: str, *, of_people: bool) -> bool:
    """
    Say whether a value is no secret but a placeholder, a word about one, or says where it comes from.

    ``of_people``: the secret is a password, which may end like the name of a file, or begin like a version.
    """
    if is_placeholder(value) or _SOURCE.fullmatch(value) or _WORD.fullmatch(value.strip("*_()[]<>!")):
        return True
    return not of_people and _FILE_OR_VERSION.fullmatch(value) is not None
