"""P15: what is on record on the storage server and gone there, or lets nobody in, is told and never made anew in silence."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from codeb.model.drift import Ground, Remedy
from codeb.model.drift_storage import kept, of_storage
from codeb.model.names import Place
from codeb.model.specs import Project
from codeb.model.storage import Found, Kind, Stage, Storage

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SHOP = Place("shop", "production")
HELD = Storage("st_1", SHOP, Kind.POSTGRES, "shop_production", "192.0.2.7", 5432, Stage.READY, 2, NOW, "key")
REDIS = replace(HELD, id="st_2", kind=Kind.REDIS, name="shop-production")


@pytest.mark.parametrize(
    ("held", "found", "kind"),
    [
        (HELD, Found("st_1", (1, 2), size=7), None), (HELD, None, "storage_lost"), (HELD, Found("st_1", (2,)), "storage_lost"),
        (HELD, Found("st_1", (1,), size=7), "storage_shut"), (HELD, Found("st_1", (), False, 7), "storage_shut"),
        (REDIS, Found("2"), None), (REDIS, None, "storage_lost"), (REDIS, Found("2", open=False), "storage_shut"),
    ],
)  # fmt: skip
def test_what_is_gone_or_shut_is_told(held: Storage, found: Found | None, kind: str | None) -> None:
    told = of_storage([held], {held.kind: {held.name: found} if found else {}})
    assert [each.kind for each in told] == ([kind] if kind else [])
    assert all((each.policy, each.place, bool(each.repair)) == (Remedy.REPORTED, SHOP, True) for each in told)


def test_a_server_that_was_not_asked_is_not_judged() -> None:
    assert of_storage([HELD, REDIS], {Kind.REDIS: {REDIS.name: Found("2")}}) == []


def test_what_is_being_made_or_deleted_is_nobodys_to_judge() -> None:
    projects = {"shop": Project("shop", "main")}
    assert kept(Ground(NOW, projects), [HELD]) == [HELD]
    assert kept(Ground(NOW, projects), [replace(HELD, state=Stage.CREATING)]) == []
    assert kept(Ground(NOW, projects, busy=frozenset({SHOP})), [HELD]) == []
    assert kept(Ground(NOW, {}), [HELD]) == []
