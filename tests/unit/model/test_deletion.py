"""How long a deleted project can be brought back (S25, P12)."""

from datetime import UTC, datetime, timedelta

import pytest

from codeb.model.deletion import is_deleted, purge_at, purge_due
from codeb.model.specs import Project

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
WEEK = timedelta(days=7)


@pytest.mark.parametrize(
    ("state", "deleted_at", "hidden", "end"),
    [
        ("ready", None, False, None), ("deleting", None, False, None), ("deleted", AT, True, AT + WEEK),
        ("purging", None, True, None), ("deleted", None, True, None),
    ],
)  # fmt: skip
def test_each_state(state: str, deleted_at: datetime | None, hidden: bool, end: datetime | None) -> None:
    project = Project("shop", "main", state=state, deleted_at=deleted_at)
    assert (is_deleted(project), purge_at(project)) == (hidden, end)
    assert purge_due(project, AT + WEEK) is (state == "purging" or end is not None)


def test_not_a_moment_early() -> None:
    shop = Project("shop", "main", state="deleted", deleted_at=AT)
    assert not purge_due(shop, AT + WEEK - timedelta(microseconds=1))
    assert not purge_due(shop, AT - timedelta(days=400))
