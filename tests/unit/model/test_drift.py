"""P15, S19: every kind of mismatch, told from facts alone."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from codeb.model import drift
from codeb.model.drift import Configured, Ground, Mismatch, Remedy
from codeb.model.events import Severity, Unreplayed
from codeb.model.names import Place, Slot
from codeb.model.slots import Pair, SlotRow, State
from codeb.model.specs import Answer, Live, Project, Unit

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SHOP = Place("shop", "production")
BLUE, GREEN = "shop-production-blue", "shop-production-green"
MENDED, REPORTED = Remedy.MENDED, Remedy.REPORTED
OVER, LATER = NOW - timedelta(seconds=1), NOW + timedelta(hours=1)


def row(slot: Slot, state: State, **more: object) -> SlotRow:
    port = 4100 + (slot is Slot.GREEN)
    if state is State.EMPTY:
        return SlotRow(SHOP, slot, port)
    ends = LATER if state is State.GRACE else None
    filled = SlotRow(SHOP, slot, port, state, f"dep_{slot}", "1", "shop:1", None, f"sha256:{slot}", grace_expires_at=ends)
    return replace(filled, **more)  # type: ignore[arg-type]


def pair(blue: State, green: State, **more: object) -> Pair:
    return Pair(row(Slot.BLUE, blue, **more), row(Slot.GREEN, green))


def unit(slot: Slot, **more: object) -> Unit:
    port = 4100 + (slot is Slot.GREEN)
    made = Unit(
        "id", SHOP.container(slot), running=True, image_id=f"sha256:{slot}", project="shop", environment="production",
        slot=slot.value, deployment_id=f"dep_{slot}", operation_id="op_1", published=(("127.0.0.1", port),),
    )  # fmt: skip
    return replace(made, **more)  # type: ignore[arg-type]


def ground(stands: Pair | None, *units: Unit, **more: object) -> Ground:
    pairs = {SHOP: stands} if stands else {}
    made = Ground(NOW, {"shop": Project("shop", "main")}, pairs, units={each.name: each for each in units})
    return replace(made, **more)  # type: ignore[arg-type]


def told(found: list[Mismatch]) -> list[tuple[str, Remedy]]:
    assert len({each.key for each in found}) == len(found)
    assert all(each.text and each.repair for each in found)
    return [(each.kind, each.policy) for each in found]


ACTIVE, GRACE = pair(State.ACTIVE, State.EMPTY), pair(State.GRACE, State.ACTIVE)
ENDED = pair(State.GRACE, State.ACTIVE, grace_expires_at=OVER)
READY = pair(State.ACTIVE, State.DEPLOYED)
WELL = unit(Slot.BLUE)
BESIDE = unit(Slot.GREEN)
KEPT = replace(WELL, name=f"{BLUE}.kept")

CONTAINERS: dict[str, tuple[Pair | None, tuple[Unit, ...], list[tuple[str, Remedy]]]] = {
    "all well": (GRACE, (WELL, BESIDE), []),
    "active gone": (ACTIVE, (), [("container_gone", MENDED)]),
    "active stopped": (ACTIVE, (replace(WELL, running=False),), [("container_stopped", MENDED)]),
    "grace gone": (GRACE, (BESIDE,), [("container_gone", MENDED)]),
    "grace stopped": (GRACE, (replace(WELL, running=False), BESIDE), [("container_stopped", MENDED)]),
    "grace that is over, gone": (ENDED, (BESIDE,), [("container_gone", REPORTED)]),
    "deployed gone": (READY, (WELL,), [("container_gone", REPORTED)]),
    "deployed stopped": (READY, (WELL, replace(BESIDE, running=False)), [("container_stopped", REPORTED)]),
    "active without a restart policy": (ACTIVE, (replace(WELL, kept=False),), [("container_unkept", MENDED)]),
    "grace without one": (GRACE, (replace(WELL, kept=False), BESIDE), [("container_unkept", MENDED)]),
    "grace that is over, without one": (ENDED, (replace(WELL, kept=False), BESIDE), []),
    "another deployment": (ACTIVE, (replace(WELL, deployment_id="dep_x"),), [("container_other", REPORTED)]),
    "another image": (ACTIVE, (replace(WELL, image_id="sha256:x"),), [("container_other", REPORTED)]),
    "wrong port": (ACTIVE, (replace(WELL, published=(("127.0.0.1", 4999),)),), [("not_published", REPORTED)]),
    "beyond loopback": (ACTIVE, (replace(WELL, published=(("0.0.0.0", 4100),)),), [("published_beyond", REPORTED)]),
    "renamed": (ACTIVE, (replace(WELL, name="mine"),), [("container_renamed", MENDED)]),
    "set aside": (ACTIVE, (KEPT,), [("container_aside", MENDED)]),
    "left aside": (ACTIVE, (WELL, replace(KEPT, deployment_id="dep_0")), [("container_left_aside", MENDED)]),
    "left aside, nobody knows by whom": (
        ACTIVE, (WELL, replace(KEPT, deployment_id="dep_0", operation_id="")), [("container_left_aside", REPORTED)],
    ),
    "stray": (ACTIVE, (WELL, BESIDE), [("container_stray", MENDED)]),
    "stray of a running operation": (ACTIVE, (WELL, replace(BESIDE, operation_id="op_2")), [("container_stray", REPORTED)]),
    "stray of no project": (None, (replace(WELL, name="ghost-production-blue", project="ghost"),), [("container_stray", MENDED)]),
    "stray of no name": (ACTIVE, (WELL, Unit("x", "whatever", True, "sha256:x")), [("container_stray", REPORTED)]),
}  # fmt: skip


@pytest.mark.parametrize("name", CONTAINERS)
def test_containers(name: str) -> None:
    stands, units, expected = CONTAINERS[name]
    assert told(drift.of_containers(ground(stands, *units), {"op_1"})) == expected


def test_a_busy_environment_is_left_out() -> None:
    busy = ground(None, WELL, KEPT, busy=frozenset({SHOP}))
    assert drift.of_containers(busy, {"op_1"}) == []
    assert drift.of_ports(busy, {4100: BLUE}, {4100}) == []


def test_a_slot_is_told_the_same_way_alone_as_in_a_round() -> None:
    for stands, units, _ in CONTAINERS.values():
        if stands is None:
            continue
        here = ground(stands, *units)
        alone = [each.key for r in stands.rows for each in drift.of_slot(r, here.units or {}, NOW)]
        assert set(alone) <= {each.key for each in drift.of_containers(here, {"op_1"})}


def test_what_is_dangerous_is_an_alarm() -> None:
    (beyond,) = drift.of_containers(ground(ACTIVE, replace(WELL, published=(("192.0.2.1", 4100),))), ())
    assert (beyond.kind, beyond.severity) == ("published_beyond", Severity.ALARM)


PORTS: dict[str, tuple[Pair, tuple[Unit, ...], dict[int, str], set[int], list[str]]] = {
    "ours": (ACTIVE, (WELL,), {4100: BLUE}, {4100}, []),
    "empty slot's port taken by a program": (ACTIVE, (WELL,), {4100: BLUE}, {4100, 4101}, ["used_by_other"]),
    "by a container": (ACTIVE, (WELL,), {4100: BLUE, 4101: "someone"}, {4100}, ["used_by_other"]),
    "while our container is gone": (ACTIVE, (), {}, {4100}, ["used_by_other"]),
    "by the renamed one itself": (ACTIVE, (replace(WELL, name="mine"),), {4100: "mine"}, {4100}, []),
    "set aside": (ACTIVE, (KEPT,), {4100: KEPT.name}, set(), []),
    "published without a lease": (ACTIVE, (WELL,), {4100: BLUE, 4700: GREEN}, {4100}, ["not_leased"]),
    "a stranger elsewhere": (ACTIVE, (WELL,), {4100: BLUE, 4700: "nginx"}, {4100, 4700}, []),
}


@pytest.mark.parametrize("name", PORTS)
def test_ports(name: str) -> None:
    stands, units, published, listening, expected = PORTS[name]
    found = drift.of_ports(ground(stands, *units), published, listening)
    assert [each.kind for each in found] == expected
    assert all(each.policy is REPORTED and each.port for each in found)


PROXY: dict[str, tuple[Configured, list[tuple[str, Remedy]]]] = {
    "all well": (Configured(True, True), []),
    "dead": (Configured(False), [("proxy_dead", MENDED)]),
    "another configuration": (Configured(True, False), [("proxy_differs", MENDED)]),
    "silent": (Configured(True, None), [("unseen", REPORTED)]),
    "missing": (Configured(True, False, missing=frozenset({SHOP})), [("site_missing", MENDED)]),
    "edited": (Configured(True, True, edited=frozenset({SHOP})), [("site_edited", MENDED)]),
    "of nobody": (Configured(True, True, strange=("ghost-production", SHOP.key)), [("site_of_nobody", REPORTED)]),
}


@pytest.mark.parametrize("name", PROXY)
def test_proxy(name: str) -> None:
    configured, expected = PROXY[name]
    assert told(drift.of_proxy(ground(ACTIVE, WELL), configured)) == expected


SWITCHES: dict[str, tuple[Pair, tuple[Unit, ...], Live, list[tuple[str, Remedy]]]] = {
    "right": (ACTIVE, (WELL,), Live(Slot.BLUE), []),
    "right with a grace": (GRACE, (WELL, BESIDE), Live(Slot.GREEN, True), []),
    "held before a promote": (pair(State.DEPLOYED, State.EMPTY), (WELL,), Live(None), []),
    "wrong slot": (READY, (WELL, BESIDE), Live(Slot.GREEN), [("switch_wrong", MENDED)]),
    "nobody": (ACTIVE, (WELL,), Live(None), [("switch_wrong", MENDED)]),
    "somebody before a promote": (pair(State.DEPLOYED, State.EMPTY), (WELL,), Live(Slot.BLUE), [("switch_wrong", MENDED)]),
    "fallback to the unpromoted": (READY, (WELL, BESIDE), Live(Slot.BLUE, True), [("fallback_wrong", MENDED)]),
    "fallback to a grace that is gone": (GRACE, (BESIDE,), Live(Slot.GREEN, True), [("fallback_wrong", MENDED)]),
    "fallback to something else": (
        GRACE, (replace(WELL, deployment_id="x"), BESIDE), Live(Slot.GREEN, True), [("fallback_wrong", MENDED)],
    ),
    "no fallback to a grace that runs": (GRACE, (WELL, BESIDE), Live(Slot.GREEN), [("fallback_missing", MENDED)]),
    "no fallback to a grace that is down": (GRACE, (replace(WELL, running=False), BESIDE), Live(Slot.GREEN), []),
}  # fmt: skip


@pytest.mark.parametrize("name", SWITCHES)
def test_switches(name: str) -> None:
    stands, units, live, expected = SWITCHES[name]
    assert told(drift.of_switches(ground(stands, *units), {SHOP: live})) == expected


def test_what_another_process_switched_without_the_database_is_not_undone() -> None:
    """A leader that was cut off promoted; whoever leads now has a registry that does not know it yet."""
    behind = replace(ground(READY, WELL, BESIDE), owed="h1")
    assert told(drift.of_switches(behind, {SHOP: Live(Slot.GREEN)})) == [("switch_wrong", REPORTED)]
    # nobody has the traffic: that is nobody's doing
    assert told(drift.of_switches(behind, {SHOP: Live(None)})) == [("switch_wrong", MENDED)]


def test_without_a_word_of_the_runtime_a_grace_keeps_its_fallback() -> None:
    blind = ground(GRACE, units=None)
    assert drift.of_switches(blind, {SHOP: Live(Slot.GREEN, True)}) == []
    assert drift.of_containers(blind, ()) == []


ROUTES: dict[str, tuple[Pair, Live, Answer, list[str]]] = {
    "right": (ACTIVE, Live(Slot.BLUE), Answer(200, "blue"), []),
    "right, with an error of the application": (ACTIVE, Live(Slot.BLUE), Answer(500, "blue"), []),
    "nobody": (ACTIVE, Live(Slot.BLUE), Answer(502), ["route_dead"]),
    "no connection": (ACTIVE, Live(Slot.BLUE), Answer(None, reason="no connection"), ["route_dead"]),
    "the grace": (GRACE, Live(Slot.GREEN, True), Answer(200, "blue"), ["stands_in"]),
    "the unpromoted": (READY, Live(Slot.BLUE), Answer(200, "green"), ["route_wrong"]),
    "as a wrong switch says": (READY, Live(Slot.GREEN), Answer(200, "green"), []),
}


@pytest.mark.parametrize("name", ROUTES)
def test_routes(name: str) -> None:
    stands, live, answer, expected = ROUTES[name]
    assert [each.kind for each in drift.of_routes(ground(stands), {SHOP: live}, {SHOP: answer})] == expected


def test_networks() -> None:
    found = drift.of_networks(ground(ACTIVE), ["codeb-shop", "codeb-ghost", "by-hand"])
    assert [(each.kind, each.policy, each.subject) for each in found] == [
        ("network_of_nobody", REPORTED, "by-hand"), ("network_of_nobody", MENDED, "ghost"),
    ]  # fmt: skip


def test_conflicts_and_half_deletions_are_for_a_person() -> None:
    (conflict,) = drift.of_conflicts([Unreplayed("c1", NOW, "promote shop", "another was faster")])
    assert (conflict.kind, conflict.policy, conflict.severity) == ("conflict", REPORTED, Severity.ALARM)
    assert "another was faster" in conflict.text
    assert told(drift.of_deletions(ground(None, half_deleted=("shop",)))) == [("deletion_unfinished", REPORTED)]


def test_a_part_that_was_not_looked_at_is_a_finding() -> None:
    found = drift.unseen("containers", "Docker does not answer")
    assert (found.kind, found.key, found.mendable) == ("unseen", "unseen containers", False)
