"""A commit whose answer is lost on the way."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import pytest

from codeb.drivers.store import postgres as driver
from tests.line import Line


@contextmanager
def unanswered(at: Line, monkeypatch: pytest.MonkeyPatch, landed: bool) -> Iterator[None]:
    """A commit of this task brings no answer, and the line is cut; those of others are left alone."""
    commit = driver._Transaction.commit
    ours = ContextVar("ours", default=False)

    async def lost(self: Any) -> None:
        if not ours.get():
            await commit(self)
            return
        if landed:
            await commit(self)
        at.set("shut")
        raise TimeoutError("the answer was lost")

    monkeypatch.setattr(driver._Transaction, "commit", lost)
    ours.set(True)
    yield
    ours.set(False)
