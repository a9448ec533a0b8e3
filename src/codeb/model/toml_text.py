"""TOML that somebody else wrote, read in linear time."""

import tomllib
from typing import Any

MOST_DOTS = 100
"""in one line: the parser's work grows with the square of a key's parts"""


def parsed(text: str) -> dict[str, Any]:
    """Raises `ValueError` with what is wrong and where; nothing of what a value says is in it."""
    text = text.removeprefix("\ufeff")
    for number, line in enumerate(text.splitlines(), 1):
        if line.count(".") > MOST_DOTS:
            raise ValueError(f"line {number} has more than {MOST_DOTS} dots")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
