"""`contracts.instances.Instances` on every driver: what runs, on whose data, and what is left afterwards."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from codeb.contracts.databases import Caches, Databases
from codeb.errors import Conflict, NotFound, PublicError
from codeb.model.names import Place
from codeb.model.secret import Secret
from codeb.model.storage import Holding, Kind
from tests.contracts.instance_rig import HERE, Bench, bench

pytestmark = pytest.mark.anyio

SHOP = Holding("codebtest_shop", "sto_1a")
TENANT = Secret("tenant-" + "y" * 25)
REAL = [pytest.mark.docker, pytest.mark.redis]


@pytest.fixture(
    params=[
        ("memory", Kind.POSTGRES), ("memory", Kind.REDIS), pytest.param(("docker", Kind.REDIS), marks=REAL),
        pytest.param(("docker", Kind.POSTGRES), marks=[pytest.mark.docker, pytest.mark.postgres]),
    ],
    ids=lambda each: "-".join(each),
)  # fmt: skip
async def every(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    """Both products, in memory and for real."""
    async with bench(*request.param, tmp_path) as made:
        yield made


@pytest.fixture(params=["memory", pytest.param("docker", marks=REAL)])
async def one(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    """Redis, for what does not depend on the product: it starts in an instant."""
    async with bench(request.param, Kind.REDIS, tmp_path) as made:
        yield made


async def fails(code: str, asked: Any, kind: type[PublicError] = Conflict) -> PublicError:
    with pytest.raises(kind) as refused:
        await asked
    assert refused.value.code == code
    return refused.value


async def hold(each: Bench, spec: Any) -> None:
    """A tenant of it, as procedures make one."""
    if each.kind is Kind.POSTGRES:
        server = cast(Databases, each.server(spec))
        await server.admit(SHOP, 1, TENANT)
        await server.make(SHOP)
    else:
        await cast(Caches, each.server(spec)).admit(SHOP, {1: TENANT})


async def test_it_runs_where_it_is_to_and_its_data_outlives_its_container(every: Bench) -> None:
    spec = every.spec()
    await every.run(spec)
    assert await every.answers(spec)
    assert not await every.answers(spec, Secret("another"), seconds=0)
    await hold(every, spec)
    seen = await every.instances.look(None, spec)
    assert (seen.there, seen.running, seen.kept, seen.data) == (True, True, True, True)
    assert seen.published == ((HERE, spec.port),)
    assert spec.port in await every.instances.taken(None)
    await every.run(spec)
    assert SHOP.name in await every.server(spec).all()

    for harm in ("stop", "remove"):
        await every.by_hand(spec, harm)
        seen = await every.instances.look(None, spec)
        assert (seen.there, seen.running, seen.data) == (harm == "stop", False, True)
        await every.run(spec, fresh=False)
        assert await every.answers(spec)
        assert SHOP.name in await every.server(spec).all()

    for _ in range(2):
        await every.instances.drop(None, spec)
    assert await every.left() == []
    assert not await every.answers(spec, seconds=0)


async def test_without_its_data_nothing_empty_takes_its_place(one: Bench) -> None:
    await fails("storage_data_gone", one.run(one.spec(), fresh=False), NotFound)
    assert await one.left() == []


async def test_a_namesake_is_never_touched(one: Bench) -> None:
    spec, other = one.spec(), one.spec("sto_2b", 1)
    await one.run(spec)
    await fails("name_taken", one.run(other))
    await one.instances.drop(None, other)
    assert (await one.instances.look(None, spec)).running
    assert await one.answers(spec)


async def test_all_of_an_installation_are_found_and_no_others(one: Bench) -> None:
    spec = one.spec()
    await one.run(spec)
    beside = replace(one.spec("sto_2b", 1), place=Place(one.project, "staging"))
    await one.run(beside)
    await one.by_hand(beside, "remove")
    found = await one.instances.all(None)
    assert {known: (each.name, each.there, each.data) for known, each in found.items()} == {
        "sto_1a": (spec.name, True, True), "sto_2b": (beside.name, False, True),
    }  # fmt: skip
    assert await one.other().all(None) == {}


async def test_a_port_in_use_is_told_and_no_container_is_left(one: Bench) -> None:
    spec = one.spec()
    await one.run(spec)
    beside = replace(one.spec("sto_2b"), place=Place(one.project, "staging"))
    said = await fails("port_taken", one.run(beside))
    assert str(spec.port) in said.message
    assert not (await one.instances.look(None, beside)).there
    await one.instances.drop(None, beside)
    assert list(await one.instances.all(None)) == ["sto_1a"]


async def test_a_missing_image_is_told_and_nothing_is_made(one: Bench) -> None:
    missing = one.spec(image="127.0.0.1:9/codebtest-nothing:1")
    with pytest.raises(PublicError) as refused:
        await one.run(missing)
    assert refused.value.code in ("image_not_found", "image_registry_unavailable")
    assert "codebtest-nothing:1" in refused.value.message
    assert await one.left() == []
