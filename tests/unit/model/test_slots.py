"""The whole product of states and events, and what must hold of a pair (spec 3)."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest

from codeb.model.names import Place, Slot
from codeb.model.slots import MOVES, Event, MoveRefused, Pair, SlotRow, State, grace_expired, grace_left, move

PLACE = Place("shop", "production")
NOW = datetime(2026, 3, 1, tzinfo=UTC)
ALLOWED = {
    ("empty", "deploy"): "deployed", ("deployed", "deploy"): "deployed", ("grace", "deploy"): "deployed",
    ("deployed", "promote"): "active", ("active", "supersede"): "grace", ("grace", "return"): "active",
    ("active", "demote"): "deployed", ("grace", "empty"): "empty", ("deployed", "empty"): "empty",
}  # fmt: skip


def row(slot: Slot, state: State) -> SlotRow:
    end = NOW if state is State.GRACE else None
    return SlotRow(PLACE, slot, 4100, state, "dep_1", "1", "shop:1", "d", "i", NOW, "k", NOW, "k", end)


@pytest.mark.parametrize(("state", "event"), list(product(State, Event)))
def test_every_state_with_every_event(state: State, event: Event) -> None:
    after = ALLOWED.get((state.value, event.value))
    if after is None:
        with pytest.raises(MoveRefused):
            move(state, event)
        with pytest.raises(MoveRefused):
            row(Slot.BLUE, state).moved(event)
        return
    assert move(state, event).value == after
    moved = row(Slot.BLUE, state).moved(event)
    assert moved.grace_expires_at is None
    assert (moved.version is None) == (after == "empty")
    assert moved.port == 4100


def test_the_table_holds_nothing_else() -> None:
    assert len(MOVES) == len(ALLOWED) == 9


@pytest.mark.parametrize(("blue", "green"), list(product(State, State)))
def test_every_pair(blue: State, green: State) -> None:
    if blue is green and blue in (State.ACTIVE, State.GRACE):
        with pytest.raises(ValueError, match="two slots"):
            Pair(row(Slot.BLUE, blue), row(Slot.GREEN, green))
        return
    pair = Pair(row(Slot.BLUE, blue), row(Slot.GREEN, green))
    target = pair.deploy_target()
    assert target.state is not State.ACTIVE
    assert target.slot is (Slot.GREEN if blue is State.ACTIVE else Slot.BLUE)
    assert (pair.active is not None) == (State.ACTIVE in (blue, green))
    assert (pair.grace is not None) == (State.GRACE in (blue, green))
    assert pair[Slot.BLUE] is pair.blue


@pytest.mark.parametrize(("hours", "left", "over"), [(1, 1, False), (0, 0, True), (-1, 0, True)])
def test_grace_by_its_stored_end(hours: int, left: int, over: bool) -> None:
    grace = replace(row(Slot.BLUE, State.GRACE), grace_expires_at=NOW + timedelta(hours=hours))
    assert grace_left(grace, NOW) == timedelta(hours=left)
    assert grace_expired(grace, NOW) is over


@pytest.mark.parametrize("state", [State.EMPTY, State.DEPLOYED, State.ACTIVE])
def test_only_grace_has_an_end(state: State) -> None:
    other = replace(row(Slot.BLUE, state), grace_expires_at=NOW - timedelta(days=9))
    assert grace_left(other, NOW) is None
    assert not grace_expired(other, NOW)
