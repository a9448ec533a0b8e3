"""What a guard says of one call: nothing, ask a person, or no."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterable

DENY, ASK = "deny", "ask"


@dataclass(frozen=True)
class Verdict:
    """`reason` is read by the assistant and by the person: what would happen, and which tool does it properly."""

    decision: str
    reason: str


def deny(reason: str) -> Verdict:
    return Verdict(DENY, reason)


def ask(reason: str) -> Verdict:
    return Verdict(ASK, reason)


def strictest(verdicts: Iterable[Verdict | None]) -> Verdict | None:
    """The first no, else the first question, else nothing."""
    found = [each for each in verdicts if each is not None]
    return next((each for each in found if each.decision == DENY), found[0] if found else None)
