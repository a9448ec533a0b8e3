"""JSON as callers may send it: UTF-8, one object, no key twice, no NaN, at most 32 levels deep."""

import json
from typing import Any

from codeb.errors import InvalidParams

DEEPEST = 32


def loads(body: bytes) -> Any:
    """Raises `InvalidParams` (code `malformed`)."""
    try:
        value = _DECODER.decode(body.decode("utf-8"))
    except UnicodeDecodeError:
        raise _malformed("is not UTF-8") from None
    except RecursionError:
        raise _malformed(f"is more than {DEEPEST} levels deep") from None
    except ValueError as fault:
        raise _malformed(f"is not JSON: {str(fault)[:200]}") from None
    if body.count(b"{") + body.count(b"[") > DEEPEST:
        _measure(value)
    return value


def _malformed(what: str) -> InvalidParams:
    return InvalidParams(
        f"The body {what}; nothing was done.", code="malformed", hint='Send a JSON object, such as {"tool": "…", "params": {}}.'
    )


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _refuse(word: str) -> Any:
    raise ValueError(f"{word} is not a number here")


_DECODER = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_refuse)
"""made once: `json.loads` would make one for every call"""


def _measure(value: Any) -> None:
    """Without recursion, so that no depth can exhaust the stack."""
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > DEEPEST:
            raise _malformed(f"is more than {DEEPEST} levels deep")
        below: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                below.extend(each.values())
            elif isinstance(each, list):
                below.extend(each)
        level = [each for each in below if isinstance(each, dict | list)]
