"""The version of this CodeB, and whether a client's is older. Imports next to nothing: the command line starts with it."""

import re

VERSION = "0.1.0"

_FORM = re.compile(r"([0-9]{1,6})\.([0-9]{1,6})\.([0-9]{1,6})")


def older(client: str) -> bool:
    """Whether a client's version is a well-formed one before ours."""
    said, ours = _FORM.fullmatch(client), _FORM.fullmatch(VERSION)
    return bool(said and ours) and [int(n) for n in said.groups()] < [int(n) for n in ours.groups()]  # type: ignore[union-attr]
