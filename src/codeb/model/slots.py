"""Slots: their states, the allowed moves as data, and the rules about pairs.

empty --deploy--> deployed --promote--> active --(other promoted)--> grace --expire--> empty
                     ^                     |                           |
                     +----- rollback ------+ (the bad version)         +--rollback--> active
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from codeb.model.names import Place, Slot


class State(StrEnum):
    EMPTY = "empty"
    DEPLOYED = "deployed"
    ACTIVE = "active"
    GRACE = "grace"


class Event(StrEnum):
    DEPLOY = "deploy"
    """a healthy new version took this slot"""
    PROMOTE = "promote"
    """this slot takes all traffic"""
    SUPERSEDE = "supersede"
    """the other slot was promoted"""
    RETURN = "return"
    """traffic comes back to this slot by rollback"""
    DEMOTE = "demote"
    """traffic left this slot by rollback"""
    EMPTY = "empty"
    """its container is given up: grace over, or cleaned up"""


MOVES: dict[tuple[State, Event], State] = {
    (State.EMPTY, Event.DEPLOY): State.DEPLOYED,
    (State.DEPLOYED, Event.DEPLOY): State.DEPLOYED,
    (State.GRACE, Event.DEPLOY): State.DEPLOYED,
    (State.DEPLOYED, Event.PROMOTE): State.ACTIVE,
    (State.ACTIVE, Event.SUPERSEDE): State.GRACE,
    (State.GRACE, Event.RETURN): State.ACTIVE,
    (State.ACTIVE, Event.DEMOTE): State.DEPLOYED,
    (State.GRACE, Event.EMPTY): State.EMPTY,
    (State.DEPLOYED, Event.EMPTY): State.EMPTY,
}


class MoveRefused(ValueError):
    """The move is not in the table."""


def move(state: State, event: Event) -> State:
    """The state after `event`. Raises `MoveRefused` for every pair the table does not hold."""
    try:
        return MOVES[state, event]
    except KeyError:
        raise MoveRefused(f"a slot that is {state} cannot {event}") from None


@dataclass(frozen=True)
class SlotRow:
    """What the registry says of one slot. Times are UTC; `port` is the published host port."""

    place: Place
    slot: Slot
    port: int
    state: State = State.EMPTY
    deployment_id: str | None = None
    version: str | None = None
    image: str | None = None
    digest: str | None = None
    image_id: str | None = None
    deployed_at: datetime | None = None
    deployed_by: str | None = None
    promoted_at: datetime | None = None
    promoted_by: str | None = None
    grace_expires_at: datetime | None = None
    env_version: int | None = None
    """the version of its environment variables that it was deployed with; None: there were none"""
    container_port: int | None = None
    """what its container listens on, as it was deployed; None: as the project says"""
    health_path: str | None = None
    """where it is asked whether it is healthy, as the project said when it was deployed; None: as it says now"""
    adopted: str | None = None
    """the id of a container that CodeB took over and did not make; None: it made it"""
    adopted_name: str | None = None
    """how that container is called"""

    @property
    def container(self) -> str:
        return self.place.container(self.slot)

    @property
    def taken_over(self) -> str | None:
        """The container that CodeB took over with this slot, to be stopped and removed as its own. One that is only claimed,
        by an operation that was lost with the registry it was in, is still somebody else's."""
        return None if self.state is State.EMPTY else self.adopted

    @property
    def called(self) -> str:
        """Its container, for people."""
        return self.container if self.adopted is None else f"{self.adopted_name} (taken over)"

    def moved(self, event: Event) -> "SlotRow":
        """The row after `event`; leaving grace forgets its end, becoming empty forgets the version."""
        state = move(self.state, event)
        if state is State.EMPTY:
            return SlotRow(self.place, self.slot, self.port)
        return replace(self, state=state, grace_expires_at=None)


@dataclass(frozen=True)
class Pair:
    """Both slots of one environment. Building one checks: at most one active, at most one in grace."""

    blue: SlotRow
    green: SlotRow

    def __post_init__(self) -> None:
        states = [self.blue.state, self.green.state]
        for only in (State.ACTIVE, State.GRACE):
            if states.count(only) > 1:
                raise ValueError(f"two slots of {self.place.key} are {only}")

    @property
    def place(self) -> Place:
        return self.blue.place

    @property
    def rows(self) -> tuple[SlotRow, SlotRow]:
        return self.blue, self.green

    def __getitem__(self, slot: Slot) -> SlotRow:
        return self.blue if slot is Slot.BLUE else self.green

    def in_state(self, state: State) -> SlotRow | None:
        return next((row for row in self.rows if row.state is state), None)

    @property
    def active(self) -> SlotRow | None:
        return self.in_state(State.ACTIVE)

    @property
    def grace(self) -> SlotRow | None:
        return self.in_state(State.GRACE)

    def own_port(self, slot: Slot) -> int:
        """The slot's port of the leased pair, also while an adopted container stands in it, which has brought its own."""
        if self[slot].adopted is None:
            return self[slot].port
        beside = self[slot.other].port
        return beside - 1 if slot is Slot.BLUE else beside + 1

    def emptied(self, slot: Slot) -> SlotRow:
        """The slot once its container is given up."""
        return replace(self[slot].moved(Event.EMPTY), port=self.own_port(slot))

    def deploy_target(self) -> SlotRow:
        """The slot that is not active; with none active, blue."""
        return self[self.active.slot.other] if self.active else self.blue


def grace_left(row: SlotRow, now: datetime) -> timedelta | None:
    """Time left of a grace, never negative; None when the slot is not in grace."""
    if row.state is not State.GRACE or row.grace_expires_at is None:
        return None
    return max(row.grace_expires_at - now, timedelta(0))


def grace_expired(row: SlotRow, now: datetime) -> bool:
    """Whether a stored grace end has passed. A clock that went backwards never ends a grace."""
    return row.state is State.GRACE and row.grace_expires_at is not None and now >= row.grace_expires_at
