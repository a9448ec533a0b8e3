"""The store keeps its contract on SQLite in a file, SQLite in memory, and PostgreSQL: the registry. Shows S31."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from sqlalchemy import text

from codeb.contracts.store import Remembered
from codeb.drivers.store.sql import SqlStore
from codeb.errors import Conflict, InternalFault, NotFound
from codeb.model.access import Approval, Key, Member, Role, Team
from codeb.model.chain import AuditRow
from codeb.model.names import Place, Slot
from codeb.model.ports import Lease
from codeb.model.slots import Event, State
from codeb.model.specs import Deployment, Limits
from tests.postgres import postgres
from tests.stores import KINDS, PROD, STAGE, START, Opener, clock, many_write, opener, pair, project, reread, store, url

__all__ = ["clock", "opener", "postgres", "store", "url"]

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("url", KINDS, indirect=True)]


async def shop(store: SqlStore) -> None:
    async with store.write() as registry:
        await registry.projects.add(project())
        await registry.slots.add(pair())


async def test_a_project_comes_back_whole_with_the_environments_its_slots_say(store: SqlStore) -> None:
    limits = Limits(memory_mb=64, cpus=0.25, capabilities=("CHOWN",))
    wanted = replace(project(), type="nextjs", container_port=8080, health_path="/up", limits=limits)
    async with store.write() as registry:
        await registry.projects.add(wanted)
        await registry.slots.add(pair(Place("shop", "pr-10"), 5002))
        await registry.slots.add(pair(Place("shop", "pr-9"), 5000))
        await registry.slots.add(pair(STAGE, 4500))
        await registry.slots.add(pair())
        await registry.projects.add(project("blog", "other"))
    async with store.read() as registry:
        assert await registry.projects.get("shop") == replace(wanted, environments=("production", "staging", "pr-9", "pr-10"))
        assert [each.name for each in await registry.projects.all()] == ["blog", "shop"]
        assert await registry.projects.get("nobody") is None


async def test_a_project_name_is_taken_by_any_team_and_the_transaction_goes_on(store: SqlStore) -> None:
    await shop(store)
    async with store.write() as registry:
        with pytest.raises(Conflict) as refused:
            await registry.projects.add(project("shop", "other"))
        assert refused.value.code == "project_exists"
        assert "acme" not in str(vars(refused.value))
        await registry.projects.add(project("blog"))
    assert set(store.snapshot.projects) == {"shop", "blog"}


async def test_since_when_a_project_is_deleted_goes_with_its_state(store: SqlStore) -> None:
    await shop(store)
    for state, at in (("deleted", START), ("purging", None), ("deleted", START), ("ready", None)):
        async with store.write() as registry:
            await registry.projects.set_state("shop", state, at)
        assert (store.snapshot.projects["shop"].state, store.snapshot.projects["shop"].deleted_at) == (state, at)


async def test_where_the_source_of_a_project_is_is_kept(store: SqlStore) -> None:
    await shop(store)
    assert store.snapshot.projects["shop"].repository == ""
    for said in ("acme/shop", ""):
        async with store.write() as registry:
            await registry.projects.set_repository("shop", said)
            with pytest.raises(NotFound):
                await registry.projects.set_repository("blog", said)
        assert store.snapshot.projects["shop"].repository == said


async def test_what_a_project_and_its_slots_are_like_is_kept(store: SqlStore) -> None:
    await shop(store)
    limits = Limits(memory_mb=256, cpus=0.5, capabilities=("CHOWN",))
    async with store.write() as registry:
        wanted = replace(project(), type="go", container_port=9000, health_path="/up", limits=limits)
        await registry.projects.set_form(wanted)
        with pytest.raises(NotFound):
            await registry.projects.set_form(replace(wanted, name="blog"))
        pair = await registry.slots.pair(Place("shop", "production"))
        assert pair is not None
        await registry.slots.put(replace(pair.blue, container_port=8080, health_path="/old"))
    found = store.snapshot.projects["shop"]
    assert (found.type, found.container_port, found.health_path, found.limits) == ("go", 9000, "/up", limits)
    blue = store.snapshot.slot(Place("shop", "production"), Slot.BLUE)
    assert blue is not None and (blue.container_port, blue.health_path) == (8080, "/old")


async def test_removing_a_project_takes_slots_and_leases_and_leaves_history(store: SqlStore) -> None:
    await shop(store)
    async with store.write() as registry:
        await registry.leases.add(Lease("local", 4100, "shop", "production", "blue"))
        await registry.deployments.add(deployment("dep_1"))
        await registry.projects.set_state("shop", "deleting")
    assert store.snapshot.projects["shop"].state == "deleting"
    async with store.write() as registry:
        await registry.projects.remove("shop")
        await registry.projects.remove("shop")
        assert await registry.slots.pairs() == [] and await registry.leases.all("local") == []
        assert await registry.deployments.get("dep_1") == deployment("dep_1")
        with pytest.raises(NotFound):
            await registry.projects.set_state("shop", "ready")
    assert (store.snapshot.projects, store.snapshot.pairs, store.snapshot.leases) == ({}, {}, ())


async def test_slots_swap_states_in_one_put(store: SqlStore) -> None:
    await shop(store)
    async with store.write() as registry:
        both = pair()
        blue = replace(
            both.blue.moved(Event.DEPLOY).moved(Event.PROMOTE), version="1", deployed_at=START, promoted_at=START,
            deployment_id="dep_1", image="shop:1", digest="sha256:1", image_id="sha256:2", deployed_by="me", promoted_by="me",
        )  # fmt: skip
        green = replace(both.green, state=State.GRACE, grace_expires_at=START + timedelta(hours=48))
        await registry.slots.put(blue, green)
        assert await registry.slots.pair(PROD) == replace(both, blue=blue, green=green)
        swapped = (blue.moved(Event.SUPERSEDE), green.moved(Event.RETURN))
        await registry.slots.put(*swapped)
    assert store.snapshot.pairs[PROD].rows == swapped
    assert store.snapshot.slot(PROD, Slot.GREEN) == swapped[1]


@pytest.mark.parametrize("state", ["active", "grace"])
async def test_a_second_slot_in_that_state_violates_a_constraint(store: SqlStore, state: str) -> None:
    await shop(store)
    async with store.write() as registry:
        await registry.slots.put(replace(pair().blue, state=State(state)))
    with pytest.raises(Conflict) as refused:
        async with store.write() as registry:
            await registry.slots.put(replace(pair().green, state=State(state)))
    assert refused.value.code == "slot_conflict"
    with pytest.raises(Exception, match=r"(?i)unique"):
        async with store._database.writing() as session:
            try:
                await session.run(text(f"UPDATE project_slots SET state = '{state}' WHERE slot = 'green'"))
            finally:
                await session.rollback()
    assert store.snapshot.pairs[PROD].green.state is State.EMPTY
    assert store.snapshot == await reread(store)


async def test_slots_need_their_project_and_are_added_once(store: SqlStore) -> None:
    await shop(store)
    async with store.write() as registry:
        for wrong, code in ((pair(), "environment_exists"), (pair(Place("none", "staging")), "project_gone")):
            with pytest.raises(Conflict) as refused:
                await registry.slots.add(wrong)
            assert refused.value.code == code
        with pytest.raises(Conflict) as refused:
            await registry.slots.put(pair(STAGE).blue)
        assert refused.value.code == "environment_gone"


async def test_leases_are_all_or_none_and_the_refusal_names_the_port(store: SqlStore) -> None:
    await shop(store)
    lease = Lease("local", 4100, "shop", "production", "blue")
    async with store.write() as registry:
        await registry.leases.add()
        await registry.leases.add(lease, replace(lease, server="other"))
        with pytest.raises(Conflict) as refused:
            await registry.leases.add(replace(lease, port=4099), lease)
        assert (refused.value.code, refused.value.details["ports"]) == ("port_taken", [4100])
        assert await registry.leases.all("local") == [lease]
        await registry.leases.remove("local", [4100, 4101])
        await registry.leases.remove("local", [4100])
    assert store.snapshot.leases == (replace(lease, server="other"),)


async def test_of_64_callers_exactly_one_gets_the_pair(opener: Opener) -> None:
    stores = [await opener()]
    if many_write(stores[0]):
        stores.append(await opener())
    await shop(stores[0])

    async def lease(number: int) -> bool:
        try:
            async with stores[number % len(stores)].write() as registry:
                wanted = ((4100, "blue"), (4101, "green"))
                await registry.leases.add(*(Lease("local", port, "shop", "production", slot) for port, slot in wanted))
        except Conflict as taken:
            assert taken.code == "port_taken"
            return False
        return True

    assert sum(await asyncio.gather(*(lease(number) for number in range(64)))) == 1


async def test_counting_up_concurrently_loses_no_update(opener: Opener) -> None:
    stores = [await opener()]
    if many_write(stores[0]):
        stores.append(await opener())
    await shop(stores[0])

    async def more(number: int) -> None:
        async with stores[number % len(stores)].write() as registry:
            last = max((lease.port for lease in await registry.leases.all("local")), default=0)
            await asyncio.sleep(0.001)
            await registry.leases.add(Lease("local", last + 1, "shop", "production", "blue"))

    await asyncio.gather(*(more(number) for number in range(20)))
    await stores[0].refresh()
    assert [lease.port for lease in stores[0].snapshot.leases] == list(range(1, 21))


def deployment(id_: str, place: Place = PROD) -> Deployment:
    return Deployment(id_, place, Slot.GREEN, "1.0", "shop:1.0", "pending", START, "acme/member/k1", "op_1")


async def test_the_deployments_whose_images_are_wanted(store: SqlStore) -> None:
    """By environment: what is pending, the newest that succeeded, and the newest two that were promoted, however old."""
    kinds = {
        "dep_01": ("success", True), "dep_02": ("success", True), "dep_03": ("success", True), "dep_04": ("success", False),
        "dep_05": ("failed", False), "dep_06": ("success", False), "dep_07": ("failed", False), "dep_08": ("success", False),
        "dep_09": ("pending", False),
    }  # fmt: skip
    async with store.write() as registry:
        for place, start in ((PROD, "dep_"), (STAGE, "stg_")):
            for name, (status, promoted) in kinds.items():
                name = name.replace("dep_", start)
                await registry.deployments.add(deployment(name, place))
                await registry.deployments.change(name, status=status, promoted_at=START if promoted else None)
    async with store.read() as registry:
        found = [each.id for each in await registry.deployments.wanted(2)]
        assert [each for each in found if each.startswith("dep")] == ["dep_09", "dep_08", "dep_06", "dep_03", "dep_02"]
        assert [each for each in found if each.startswith("stg")] == ["stg_09", "stg_08", "stg_06", "stg_03", "stg_02"]
        assert len(await registry.deployments.wanted(100)) == 14


async def test_deployments_are_history_newest_first(store: SqlStore) -> None:
    async with store.write() as registry:
        for number in range(1, 5):
            await registry.deployments.add(deployment(f"dep_{number}"))
        await registry.deployments.add(deployment("dep_9", STAGE))
        await registry.deployments.change("dep_2", status="success", digest="sha256:x", ended_at=START, promoted_at=START)
        with pytest.raises(NotFound):
            await registry.deployments.change("dep_0", status="failed")
        with pytest.raises(InternalFault):
            await registry.deployments.change("dep_1", place=STAGE)
        with pytest.raises(Conflict):
            await registry.deployments.add(deployment("dep_1"))
    async with store.read() as registry:
        assert [each.id for each in await registry.deployments.history(PROD, 3)] == ["dep_4", "dep_3", "dep_2"]
        changed = replace(deployment("dep_2"), status="success", digest="sha256:x", ended_at=START, promoted_at=START)
        assert await registry.deployments.get("dep_2") == changed
        assert await registry.deployments.get("dep_0") is None


async def test_keys_and_teams(store: SqlStore) -> None:
    narrow = Key(
        "key_1", "a" * 64, "acme", Role.MEMBER, "ci\0\ud800", frozenset({"deploy", "a"}), frozenset({"shop"}),
        frozenset({"staging"}), START, START, START,
    )  # fmt: skip
    wide = Key("key_2", "b" * 64, "acme", Role.OWNER)
    async with store.write() as registry:
        await registry.teams.ensure("acme")
        await registry.teams.ensure("acme")
        await registry.keys.add(narrow)
        await registry.keys.add(wide)
        for twin in (replace(wide, sha256="c"), replace(wide, id="key_3")):
            with pytest.raises(Conflict) as refused:
                await registry.keys.add(twin)
            assert refused.value.code == "key_exists"
    stored = replace(narrow, label="ci\ufffd\ufffd")
    async with store.read() as registry:
        assert await registry.keys.all() == [stored, wide]
        assert [team.id for team in await registry.teams.all()] == ["acme"]
    assert store.snapshot.keys == {"a" * 64: stored, "b" * 64: wide}


async def test_keys_teams_and_members_end_once(store: SqlStore) -> None:
    later = START + timedelta(hours=1)
    team = Team("acme", "Acme ☃", Approval.NAME, START, "main/owner/k")
    ana = Member("mem_1", "acme", "ana", Role.ADMIN, START, "main/owner/k")
    key = Key("key_1", "a" * 64, "acme", Role.ADMIN, member="mem_1", approval=Approval.HUMAN, created_by="k", created_at=START)
    async with store.write() as registry:
        await registry.teams.add(team)
        await registry.members.add(ana)
        await registry.keys.add(key)
        for again, code in (
            (registry.teams.add(team), "team_exists"),
            (registry.members.add(replace(ana, id="mem_2")), "member_exists"),
        ):
            with pytest.raises(Conflict) as refused:
                await again
            assert refused.value.code == code
    found = store.snapshot
    assert (found.teams, found.members, found.keys) == ({"acme": team}, {"mem_1": ana}, {"a" * 64: key})
    async with store.write() as registry:
        await registry.teams.set("acme", display_name="", approval=Approval.HUMAN)
        await registry.keys.expire(later, "key_1")
        await registry.keys.expire(later + timedelta(hours=1), "key_1")
        await registry.members.set_role("mem_1", Role.VIEWER)
        assert (await registry.members.all())[0].role is Role.VIEWER
        await registry.members.set_role("mem_1", ana.role)
        for at in (START, later):
            await registry.keys.revoke(at, "key_1")
            await registry.members.remove(at, "mem_1")
            await registry.members.set_role("mem_1", Role.OWNER)
            await registry.teams.delete(at, "acme")
        await registry.members.add(replace(ana, id="mem_2"))
    found = store.snapshot
    assert found.teams["acme"] == replace(team, display_name="", approval=Approval.HUMAN, deleted_at=START)
    assert found.members == {"mem_1": replace(ana, removed_at=START), "mem_2": replace(ana, id="mem_2")}
    assert found.keys["a" * 64] == replace(key, revoked_at=START, expires_at=later)
    assert (await reread(store)).members == found.members


async def test_one_of_many_invitations_of_one_name_lands(store: SqlStore) -> None:
    """S31: the constraint says so, whoever looked before."""
    async with store.write() as registry:
        await registry.teams.ensure("acme")

    async def invite(number: int) -> str:
        try:
            async with store.write() as registry:
                await registry.members.add(Member(f"mem_{number}", "acme", "ana", Role.MEMBER, START, "k"))
        except Conflict as lost:
            return lost.code
        return "won"

    said = await asyncio.gather(*(invite(number) for number in range(16)))
    assert sorted(said) == ["member_exists"] * 15 + ["won"]
    assert len(store.snapshot.members) == 1


async def test_one_call_claims_an_idempotency_key(store: SqlStore) -> None:
    whole = Remembered("key_1", "k", "deploy", "f" * 64, START, None, {"summary": "done", "data": [1, None]})
    other = replace(whole, key_id="key_2", operation_id="op_1", answer=None)
    async with store.write() as registry:
        await registry.answers.put(whole)
        await registry.answers.put(other)
        assert await registry.answers.find("key_1", "k") == whole
        assert await registry.answers.find("key_2", "k") == other
        assert await registry.answers.find("key_1", "x") is None
        began = replace(other, key="k#blue", operation_id="op_2", params={"idempotencyKey": "k", "projectName": "shop"})
        await registry.answers.put(began)
        assert await registry.answers.that_began("key_2", "op_2") == began
        # another key's, one that only a bound call is about, and none
        assert await registry.answers.that_began("key_1", "op_2") is None
        assert await registry.answers.that_began("key_2", "op_1") is None
        assert await registry.answers.that_began("key_2", "op_3") is None

    async def race(number: int) -> str:
        try:
            async with store.write() as registry:
                await registry.answers.put(replace(whole, key="race", tool=f"t{number}"))
        except Conflict as lost:
            return lost.code
        return "won"

    outcomes = await asyncio.gather(*(race(number) for number in range(16)))
    assert sorted(outcomes) == ["idempotency_race"] * 15 + ["won"]


async def test_audit_is_kept_in_order(store: SqlStore) -> None:
    def row(number: int) -> AuditRow:
        return AuditRow(
            START, f"c{number}", "http", "deploy", bool(number % 2), "ok", "key_1", "acme", "member", None, 1.5,
            {"projectName": "shop", "deep": [1, {"x": None}]}, "said",
        )  # fmt: skip

    async with store.write() as registry:
        await registry.audit.add([])
        await registry.audit.add([row(1), row(2)])
        await registry.audit.add([row(3)])
    async with store.read() as registry:
        assert await registry.audit.latest(2) == [row(3), row(2)]


async def test_moments_are_aware_and_utc_whatever_zone_they_came_in(store: SqlStore) -> None:
    seoul = START.astimezone(timezone(timedelta(hours=9)))
    async with store.write() as registry:
        await registry.projects.add(replace(project(), created_at=seoul))
        found = await registry.projects.get("shop")
    assert found is not None and found.created_at is not None
    assert found.created_at == START and found.created_at.utcoffset() == timedelta(0)
    assert found.created_at.microsecond == 123456
    with pytest.raises(Exception, match="zone"):
        async with store.write() as registry:
            await registry.projects.add(replace(project("blog"), created_at=datetime(2026, 1, 1)))
