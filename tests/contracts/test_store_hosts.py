"""P7: a name is held once, whichever team asks; domains, pages and previews survive restarts, files and copies like the rest."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from codeb.drivers.store.mirror import Mirror
from codeb.drivers.store.rescue import make_sound
from codeb.drivers.store.sql import SqlStore, open_store
from codeb.errors import Conflict
from codeb.model.domains import Domain, DomainState, Maintenance
from codeb.model.names import Place
from codeb.model.previews import Preview
from codeb.model.specs import Project
from tests.postgres import postgres  # noqa: F401 - a fixture

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HELD = Domain("shop.example.com", "main", "shop", "production", DomainState.ACTIVE, NOW, "me", zone="example.com", proof="txt")
BESIDE = replace(HELD, host="www.shop.example.com", redirect_to="shop.example.com")
GONE = replace(HELD, host="old.example.com", state=DomainState.RELEASED, zone="")
PAGE = Maintenance(Place("shop", "production"), NOW, "me")
KEPT = Preview(Place("shop", "pr-7"), 72, NOW + timedelta(hours=72), NOW, "me")


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SqlStore]:
    address = f"sqlite:///{tmp_path}/codeb.db"
    if request.param == "postgres":
        address = str(request.getfixturevalue("postgres").url())
    made = await open_store(address, mirror=None, now=lambda: NOW)
    await filled(made)
    yield made
    await made.close()


async def filled(store: SqlStore) -> None:
    async with store.write() as registry:
        await registry.teams.ensure("main")
        await registry.projects.add(Project("shop", "main"))
        await registry.domains.claim(HELD, BESIDE, GONE)
        await registry.maintenances.put(PAGE)
        await registry.previews.put(replace(KEPT, ttl_hours=1))
        await registry.previews.put(KEPT)


async def test_what_was_put_is_there_and_in_the_snapshot(store: SqlStore) -> None:
    for _ in range(2):
        assert dict(store.snapshot.domains) == {each.host: each for each in (GONE, HELD, BESIDE)}
        assert dict(store.snapshot.maintenances) == {PAGE.place: PAGE}
        assert dict(store.snapshot.previews) == {KEPT.place: KEPT}
        assert store.snapshot.domains_of(PAGE.place) == [HELD, BESIDE]
        async with store.read() as registry:
            assert list(await registry.domains.all()) == [GONE, HELD, BESIDE]
            assert await registry.maintenances.get(PAGE.place) == PAGE
            assert (await registry.previews.get(KEPT.place), await registry.previews.get(PAGE.place)) == (KEPT, None)
        await store.refresh()
    async with store.write() as registry:
        await registry.domains.remove(BESIDE.host)
        await registry.domains.put(replace(HELD, zone=""))
        await registry.maintenances.remove(PAGE.place)
        await registry.previews.remove(KEPT.place)
    assert (set(store.snapshot.domains), store.snapshot.domains[HELD.host].zone) == ({GONE.host, HELD.host}, "")
    assert (dict(store.snapshot.maintenances), dict(store.snapshot.previews)) == ({}, {})


@pytest.mark.parametrize("team", ["main", "rivals"])
async def test_a_held_name_is_refused_and_a_released_one_changes_hands(store: SqlStore, team: str) -> None:
    for state in (DomainState.CLAIMED, DomainState.ACTIVE):
        async with store.write() as registry:
            await registry.domains.put(replace(HELD, state=state))
            with pytest.raises(Conflict) as taken:
                await registry.domains.claim(replace(HELD, team=team, project="blog"))
            assert taken.value.code == "domain_taken"
        assert store.snapshot.domains[HELD.host].team == "main"
    async with store.write() as registry:
        await registry.domains.claim(replace(GONE, team=team, project="blog", state=DomainState.CLAIMED))
    assert store.snapshot.domains[GONE.host].project == "blog"


async def test_a_project_that_goes_takes_its_page_and_not_the_memory_of_its_names(store: SqlStore) -> None:
    async with store.write() as registry:
        await registry.projects.remove("shop")
    assert (set(store.snapshot.domains), dict(store.snapshot.maintenances)) == ({GONE.host, HELD.host, BESIDE.host}, {})
    assert dict(store.snapshot.previews) == {}


async def test_a_registry_that_is_lost_is_rebuilt_with_them_from_the_files(tmp_path: Path) -> None:
    home = tmp_path
    mirror = Mirror(home)
    store = await open_store(f"sqlite:///{home}/codeb.db", mirror=mirror, now=lambda: NOW)
    await filled(store)
    await store.flush()
    said = mirror.read()
    assert said.registry is not None and said.faults == ()
    readable = (home / "registry" / "domains" / "shop.json").read_text()
    assert "www.shop.example.com" in readable and "old.example.com" not in readable
    await store.close()
    (home / "codeb.db").write_bytes(b"not a database")
    for side in ("-wal", "-shm"):
        (home / f"codeb.db{side}").unlink(missing_ok=True)
    assert (await make_sound(home / "codeb.db", home, Mirror(home), lambda: NOW)).notes
    again = await open_store(f"sqlite:///{home}/codeb.db", mirror=None, now=lambda: NOW)
    assert dict(again.snapshot.domains) == {each.host: each for each in (GONE, HELD, BESIDE)}
    assert dict(again.snapshot.maintenances) == {PAGE.place: PAGE}
    assert dict(again.snapshot.previews) == {KEPT.place: KEPT}
    await again.close()
    (home / "registry" / "domains" / "shop.json").unlink()
    assert Mirror(home).read().registry is not None, "what is for people alone is not needed"
