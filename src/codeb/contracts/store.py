"""What we need remembered: role interfaces over one transaction.

`Store.write()` is a transaction that sees its own writes and excludes other writers; it commits when the block ends
and rolls back when it raises. `Store.read()` sees one consistent state. `Store.snapshot` is the same registry held in
memory, exact after every commit of this process: reads that are made a thousand times a second use it.
Every role raises `Unavailable` when the database does not answer.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, TypeVar

from codeb.contracts.approvals import Approvals
from codeb.contracts.audit import Audit
from codeb.contracts.envs import Envs
from codeb.contracts.hosts import Domains, Maintenances
from codeb.contracts.machines import Rules, Servers
from codeb.contracts.people import Keys, Members, Teams
from codeb.contracts.previews import Previews
from codeb.contracts.storages import Storages
from codeb.contracts.work import Tasks
from codeb.model.access import Key, Member, Team
from codeb.model.domains import Domain, Maintenance, domains_of
from codeb.model.events import Event, Unreplayed
from codeb.model.journal import Operation, OpState, StepRow
from codeb.model.names import Place, Slot
from codeb.model.ports import Lease
from codeb.model.previews import Preview
from codeb.model.slots import Pair, SlotRow
from codeb.model.specs import Deployment, Finding, Project

T = TypeVar("T")


class Projects(Protocol):
    async def add(self, project: Project) -> None:
        """Raises `Conflict` (code `project_exists`) when the name is taken, by any team."""

    async def get(self, name: str) -> Project | None: ...

    async def all(self) -> Sequence[Project]: ...

    async def set_state(self, name: str, state: str, deleted_at: datetime | None = None) -> None:
        """Replace both: since when it is deleted is of no other state."""

    async def set_watch(self, name: str, *, auto_rollback: bool, watch_seconds: int) -> None: ...

    async def set_form(self, project: Project) -> None:
        """What its next container is like: type, port, health path and limits, as given here."""

    async def set_repository(self, name: str, repository: str) -> None:
        """Where its source is, `owner/name`; empty: nowhere that anybody said."""

    async def remove(self, name: str) -> None:
        """The project with its slots and port leases; operations and deployments stay as history."""


class Slots(Protocol):
    async def pair(self, place: Place) -> Pair | None: ...

    async def pairs(self) -> Sequence[Pair]: ...

    async def add(self, pair: Pair) -> None:
        """Both slots of a new environment."""

    async def put(self, *rows: SlotRow) -> None:
        """Replace these rows together; two active slots in one environment violate a constraint."""

    async def remove(self, place: Place) -> None:
        """Both slots of an environment that never came to be. Its leases are removed apart."""


class Leases(Protocol):
    async def add(self, *leases: Lease) -> None:
        """Raises `Conflict` (code `port_taken`) when (server, port) is leased: the constraint of the store says so."""

    async def all(self, server: str) -> Sequence[Lease]: ...

    async def remove(self, server: str, ports: Sequence[int]) -> None: ...


class Deployments(Protocol):
    async def add(self, deployment: Deployment) -> None: ...

    async def change(self, deployment_id: str, **fields: Any) -> None: ...

    async def get(self, deployment_id: str) -> Deployment | None: ...

    async def history(self, place: Place, limit: int) -> Sequence[Deployment]:
        """Newest first."""

    async def wanted(self, successes: int) -> Sequence[Deployment]:
        """Of every environment: what is pending, the newest `successes` that succeeded, the newest two that were promoted."""


class Journal(Protocol):
    """Operations, their steps and their locks. A lock is per place; opening an operation takes it, closing frees it.

    `fence` is the number the lock had when this operation took it; every write states it, and raises `FenceLost`
    when the lock has a newer one.
    """

    async def open(self, operation: Operation, *, owner: str) -> Operation:
        """Insert and lock every place of it; returns it with its fence. Raises `Busy` naming the running operation."""

    async def take_over(self, operation_id: str, *, owner: str) -> Operation:
        """Lock an open operation for `owner` with a new fence: the former holder can write nothing more."""

    async def renew(self, owner: str) -> None:
        """Say that `owner` is alive: restamps every lock it holds."""

    async def abandoned(self, *, home: str, lease_seconds: float) -> Sequence[Operation]:
        """Open operations whose holder may be gone: held by a process of this `home` (owners read `{home}:{boot}`; two
        processes never share a home, the caller knows which are its own), or not renewed for `lease_seconds`,
        whichever way the clock jumped."""

    async def step(self, fence: int, row: StepRow) -> None:
        """Insert or replace one step row; also becomes the operation's current step."""

    async def change(self, operation_id: str, fence: int, **fields: Any) -> None:
        """Change fields of the operation row: state, step, result, error, warnings, undo_faults, resumed…"""

    async def close(self, operation_id: str, fence: int, state: OpState, **fields: Any) -> None:
        """Make it terminal and free its locks."""

    async def holds(self, operation_id: str, fence: int) -> None:
        """Raises `FenceLost` unless this fence is still the newest of all places of the operation."""

    async def get(self, operation_id: str) -> Operation | None: ...

    async def steps(self, operation_id: str) -> Sequence[StepRow]: ...

    async def running(self, place: Place) -> Operation | None: ...

    async def history(
        self,
        *,
        team: str,
        project: str | None,
        environment: str | None,
        open_only: bool,
        limit: int,
        before: str | None,
    ) -> Sequence[Operation]:
        """Newest first; `before` is the id of the last one of the page before."""

    async def ask_cancel(self, operation_id: str) -> None: ...


@dataclass(frozen=True)
class Remembered:
    """What an idempotency key was used for, and the answer: a whole answer, or the operation that brings it."""

    key_id: str
    key: str
    tool: str
    body_sha256: str
    created_at: datetime
    operation_id: str | None = None
    answer: Mapping[str, Any] | None = None
    sealed: str | None = None
    """the answer, encrypted, where it holds a secret"""
    params: Mapping[str, Any] | None = None
    """of a call that began an operation: what it is made of once more, its idempotency key among it"""


class Answers(Protocol):
    """Idempotency keys, per API key."""

    async def find(self, key_id: str, key: str) -> Remembered | None: ...

    async def that_began(self, key_id: str, operation_id: str) -> Remembered | None:
        """The call of this API key that began the operation; of several parts of one call, any."""

    async def put(self, remembered: Remembered) -> None:
        """Raises `Conflict` (code `idempotency_race`) when another call claimed the key meanwhile."""

    async def complete(self, key_id: str, key: str, answer: Mapping[str, Any] | None, sealed: str | None = None) -> None:
        """Put the whole answer, plain or sealed, in place of what the key had so far."""


@dataclass(frozen=True)
class Sealed:
    """One row of the store with something sealed in it, and what that is sealed for."""

    table: str
    key: tuple[str, ...]
    """its primary key"""
    about: str
    text: str


class Seals(Protocol):
    """Everything sealed that the store holds, whatever it is, and the id of the master key that is in force: a home with
    another one must not seal."""

    async def in_force(self) -> str | None:
        """None until the first home has said which it is."""

    async def use(self, key_id: str, *, changing: bool = False) -> None:
        """From now on this one; `changing`: what was sealed before is still to be sealed anew."""

    async def changing(self) -> bool:
        """Whether a change of it has begun and not ended."""

    async def named(self) -> Mapping[str, int]:
        """How many rows are sealed under which key."""

    async def others(self, key_id: str, *, after: Sealed | None, limit: int) -> Sequence[Sealed]:
        """What is sealed under any other key, in an order in which `after` is the last one of the page before."""

    async def replace(self, row: Sealed, text: str) -> None:
        """Only where the row is still as it was read."""


class Events(Protocol):
    """What happened by itself: restarts, automatic rollbacks, the database going and coming, findings."""

    async def add(self, *events: Event) -> None: ...

    async def latest(self, *, team: str | None, project: str | None, limit: int, before: str | None) -> Sequence[Event]:
        """Newest first, those of the whole installation among them; `team` None: of all teams. `before`: an id."""


class Conflicts(Protocol):
    """What a replay could not add (P9): reported until somebody settles it."""

    async def add(self, conflict: Unreplayed) -> None:
        """Safe to repeat: one per transaction."""

    async def open_ones(self) -> Sequence[Unreplayed]: ...

    async def settle(self, conflict_id: str, by: str) -> None:
        """Raises `NotFound` (`conflict_not_found`)."""


class Registry(Protocol):
    """The roles, bound to one transaction."""

    @property
    def projects(self) -> Projects: ...

    @property
    def slots(self) -> Slots: ...

    @property
    def leases(self) -> Leases: ...

    @property
    def deployments(self) -> Deployments: ...

    @property
    def journal(self) -> Journal: ...

    @property
    def answers(self) -> Answers: ...

    @property
    def seals(self) -> Seals: ...

    @property
    def keys(self) -> Keys: ...

    @property
    def teams(self) -> Teams: ...

    @property
    def members(self) -> Members: ...

    @property
    def audit(self) -> Audit: ...

    @property
    def events(self) -> Events: ...

    @property
    def conflicts(self) -> Conflicts: ...

    @property
    def approvals(self) -> Approvals: ...

    @property
    def envs(self) -> Envs: ...

    @property
    def domains(self) -> Domains: ...

    @property
    def maintenances(self) -> Maintenances: ...

    @property
    def previews(self) -> Previews: ...

    @property
    def storages(self) -> Storages: ...

    @property
    def servers(self) -> Servers: ...

    @property
    def rules(self) -> Rules: ...

    @property
    def tasks(self) -> Tasks: ...


@dataclass(frozen=True)
class Snapshot:
    """The registry as of `generation`, in memory: projects, slot pairs and keys (by SHA-256)."""

    generation: int
    projects: Mapping[str, Project]
    pairs: Mapping[Place, Pair]
    keys: Mapping[str, Key]
    running: Mapping[Place, Operation]
    leases: tuple[Lease, ...] = ()
    registry_id: str = ""
    """made once at its birth: a database with another one is another registry"""
    instance: str = ""
    """the id on this installation's containers"""
    teams: Mapping[str, Team] = field(default_factory=dict)
    """deleted ones too"""
    members: Mapping[str, Member] = field(default_factory=dict)
    """by id; removed ones too"""
    domains: Mapping[str, Domain] = field(default_factory=dict)
    """by name; released ones too"""
    maintenances: Mapping[Place, Maintenance] = field(default_factory=dict)
    previews: Mapping[Place, Preview] = field(default_factory=dict)

    def domains_of(self, place: Place) -> list[Domain]:
        """Those in force that lead to this place, by name."""
        return domains_of(self.domains.values(), place)

    def pair_of(self, place: Place) -> Pair | None:
        return self.pairs.get(place)

    def slot(self, place: Place, slot: Slot) -> SlotRow | None:
        pair = self.pairs.get(place)
        return pair[slot] if pair else None


@dataclass(frozen=True)
class Standing:
    """How the store stands. `away_since` is set while the database does not answer and a local copy stands in for it."""

    away_since: datetime | None = None
    why: str = ""
    pending: int = 0
    """transactions done on the local copy that the database does not have yet"""
    conflicts: int = 0
    """replayed transactions that could not be added and are not settled"""
    last_gap_seconds: float | None = None
    """how long the database was away the last time, once it is back"""
    leads: bool = True
    """whether this process is the one that may change things"""
    leader: str = ""
    """where the leading process is reached, when it is not this one"""
    owed: str = ""
    """another process that did things without the database which are not in it yet: the registry may be behind the world"""

    @property
    def degraded(self) -> bool:
        return self.away_since is not None


class Store(Protocol):
    """`transact` and `consult` are how a caller works that must not notice a database that goes away: `act` may be run
    twice, of which one counts. `write` and `read` give one transaction, which a loss of the database ends with `Unavailable`.
    """

    def write(self) -> AbstractAsyncContextManager[Registry]: ...

    def read(self) -> AbstractAsyncContextManager[Registry]: ...

    async def transact(self, act: Callable[[Registry], Awaitable[T]]) -> T:
        """Run `act` in a write transaction; once more on the local copy when the database went away under it."""

    async def append(self, act: Callable[[Registry], Awaitable[T]]) -> T:
        """Like `transact`, for rows that nobody else touches (audit): also by a process that does not lead."""

    async def consult(self, act: Callable[[Registry], Awaitable[T]]) -> T:
        """Run `act` in a read transaction; once more on the local copy when the database went away under it."""

    @property
    def snapshot(self) -> Snapshot: ...

    @property
    def standing(self) -> Standing: ...

    async def check(self) -> Finding: ...

    async def close(self) -> None: ...
