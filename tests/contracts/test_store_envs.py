"""The role Envs keeps its contract on all databases: versions are only added, and go with their project (S11, S31)."""

from dataclasses import replace
from datetime import timedelta

import pytest

from codeb.drivers.store.sql import SqlStore
from codeb.errors import Conflict
from codeb.model.envs import Difference, EnvVersion
from codeb.model.names import Place
from codeb.model.specs import Project
from tests.contracts.test_store_seals import vault
from tests.postgres import postgres, postgres_server
from tests.stores import KINDS, PROD, STAGE, START, clock, opener, store, url

from codeb.model.sealed import about_env  # isort: skip
from codeb.model.secret import Secret  # isort: skip

__all__ = ["clock", "opener", "postgres", "postgres_server", "store", "url"]

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("url", KINDS, indirect=True)]


def version(number: int = 1, place: Place = PROD, sealed: str = "v1.sealed") -> EnvVersion:
    made = Difference(("A", "B"), (), ("C",)) if number == 1 else Difference(changed=("A",))
    at = START.replace(microsecond=0) + timedelta(minutes=number)
    return EnvVersion(place, number, at, "main/owner/k", "set", 2, made, sealed)


async def two_projects(store: SqlStore) -> None:
    async with store.write() as registry:
        for name in ("shop", "blog"):
            await registry.projects.add(Project(name, "main"))


async def test_versions_come_back_as_they_were_added(store: SqlStore) -> None:
    await two_projects(store)
    async with store.write() as registry:
        for each in (version(1), version(2), version(3), version(1, STAGE), version(7, Place("blog", "production"))):
            await registry.envs.add(each)
    async with store.read() as registry:
        assert await registry.envs.get(PROD, 2) == version(2)
        assert await registry.envs.get(PROD, 4) is None
        assert await registry.envs.newest(PROD) == version(3)
        assert await registry.envs.newest(PROD, version(2).created_at + timedelta(seconds=1)) == version(2)
        assert await registry.envs.newest(PROD, START) is None
        assert await registry.envs.first(PROD) == version(1)
        assert await registry.envs.first(Place("shop", "preview")) is None
        assert [each.number for each in await registry.envs.history(PROD, 2)] == [3, 2]
        assert list(await registry.envs.history(PROD, 9, 2)) == [replace(version(1), sealed="")]
        assert await registry.envs.heads() == {
            PROD: version(3).created_at, STAGE: version(1).created_at,
            Place("blog", "production"): version(7).created_at,
        }  # fmt: skip


async def test_a_number_is_given_once_and_only_to_a_project_that_is_there(store: SqlStore) -> None:
    await two_projects(store)
    async with store.write() as registry:
        await registry.envs.add(version(1))
        for again, code in ((version(1), "env_version_exists"), (version(1, Place("nope", "production")), "project_gone")):
            with pytest.raises(Conflict) as refused:
                await registry.envs.add(again)
            assert refused.value.code == code


async def test_they_go_with_their_project(store: SqlStore) -> None:
    await two_projects(store)
    other = version(1, Place("blog", "production"))
    async with store.write() as registry:
        for each in (version(1), version(2), other):
            await registry.envs.add(each)
    async with store.write() as registry:
        await registry.projects.remove("shop")
    async with store.read() as registry:
        assert await registry.envs.first(PROD) is None
        assert set(await registry.envs.heads()) == {other.place}


async def test_they_go_with_their_environment(store: SqlStore) -> None:
    await two_projects(store)
    async with store.write() as registry:
        for each in (version(1), version(2), version(1, STAGE)):
            await registry.envs.add(each)
    for _ in range(2):
        async with store.write() as registry:
            await registry.envs.remove(PROD)
    async with store.read() as registry:
        assert set(await registry.envs.heads()) == {STAGE}


async def test_what_is_sealed_in_them_is_counted_and_sealed_anew(store: SqlStore) -> None:
    one, two = vault(), vault()
    await two_projects(store)
    async with store.write() as registry:
        for number in (1, 2, 10):
            about = about_env("shop", "production", number)
            await registry.envs.add(version(number, sealed=one.seal(Secret(f"canary {number}"), about)))
    async with store.write() as registry:
        first = await registry.seals.others(two.ids[0], after=None, limit=2)
        rest = await registry.seals.others(two.ids[0], after=first[-1], limit=2)
        for row in (*first, *rest):
            await registry.seals.replace(row, two.seal(one.open(row.text, row.about), row.about))
    async with store.read() as registry:
        assert await registry.seals.named() == {two.ids[0]: 3}
        found = await registry.envs.get(PROD, 10)
    assert found is not None
    assert two.open(found.sealed, about_env("shop", "production", 10)).reveal() == "canary 10"
