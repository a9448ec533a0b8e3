"""Init: a project with all that it needs, in one operation. Every part may be left out, or be there already.

project, ports -> containers of their own -> database -> redis -> firewall -> domain -> RECORD -> settle -> files

Project, ports, passwords and claims of names are rows of the transaction that opens it. Whatever fails takes everything back;
what was there before stays. The parts are the steps of the procedures that make one of them alone.
"""

from dataclasses import dataclass
from typing import Any

from codeb.contracts.store import Registry
from codeb.errors import PublicError
from codeb.flows import domain_setup, firewall, storage_create
from codeb.flows.domain_setup import SetupInput
from codeb.flows.firewall import FirewallInput
from codeb.flows.storage import StorageInput
from codeb.model.deletion import CREATING, READY
from codeb.model.journal import Operation
from codeb.model.names import Place
from codeb.model.storage import Kind
from codeb.saga.step import Run, Saga, Step, each


@dataclass(frozen=True)
class NewPlace:
    """An environment that was made in the opening, with its two ports."""

    place: Place
    ports: tuple[int, ...]


@dataclass(frozen=True)
class InitInput:
    project: str
    created: bool
    """whether the project was made in the opening, or was left half made by an earlier one"""
    places: tuple[NewPlace, ...] = ()
    storage: tuple[StorageInput, ...] = ()
    firewall: tuple[FirewallInput, ...] = ()
    domain: tuple[SetupInput, ...] = ()

    def of(self, kind: Kind) -> tuple[StorageInput, ...]:
        return tuple(part for part in self.storage if part.kind is kind)


def _instances(value: InitInput) -> tuple[StorageInput, ...]:
    return tuple(part for part in value.storage if part.instance is not None)


def _databases(value: InitInput) -> tuple[StorageInput, ...]:
    return value.of(Kind.POSTGRES)


def _caches(value: InitInput) -> tuple[StorageInput, ...]:
    return value.of(Kind.REDIS)


def _firewall(value: InitInput) -> tuple[FirewallInput, ...]:
    return value.firewall


def _domain(value: InitInput) -> tuple[SetupInput, ...]:
    return value.domain


async def _opened(value: InitInput, operation: Operation, registry: Registry) -> None:
    for part in value.domain:
        await domain_setup.SAGA.opened(part, operation, registry)


async def _record(run: Run[InitInput], registry: Registry) -> None:
    """All of it is the project's at once: what may be deployed to has all that it was to have."""
    value = run.input
    project = await registry.projects.get(value.project)
    if project is not None and project.state == CREATING:
        await registry.projects.set_state(value.project, READY)
    for storage in value.storage:
        saga = storage_create.DATABASE if storage.kind is Kind.POSTGRES else storage_create.REDIS
        await saga.recorded(run.about(storage), registry)
    for rules in value.firewall:
        await firewall.SAGA.recorded(run.about(rules), registry)
    for names in value.domain:
        await domain_setup.SAGA.recorded(run.about(names), registry)


async def _failed(run: Run[InitInput], registry: Registry, fault: PublicError) -> None:
    value = run.input
    for names in value.domain:
        await domain_setup.SAGA.failed(run.about(names), registry, fault)
    for storage in value.storage:
        await storage_create.DATABASE.failed(run.about(storage), registry, fault)
    for new in value.places:
        await registry.slots.remove(new.place)
        await registry.leases.remove(run.kit.policy.server, new.ports)
    if value.created:
        await registry.projects.remove(value.project)


def _result(run: Run[InitInput]) -> dict[str, Any]:
    value = run.input
    return {
        "projectName": value.project, "created": value.created, "storage": [part.name for part in value.storage],
        "opened": [str(rule.opening) for part in value.firewall for rule in part.add],
        "domain": value.domain[0].hosts[0] if value.domain else "",
        "certificate": run.outputs.get("certificate", {}).get("certificate", ""),
    }  # fmt: skip


SAGA: Saga[InitInput] = Saga(
    name="workflow_init",
    version=1,
    input=InitInput,
    opening=("project", "ports"),
    steps=(
        each(storage_create.OWN_DATABASE.step("open"), _instances),
        each(storage_create.OWN_DATABASE.step("instance"), _instances),
        each(storage_create.DATABASE.step("role"), _databases),
        each(storage_create.DATABASE.step("database"), _databases),
        each(storage_create.REDIS.step("user"), _caches, "redis"),
        each(firewall.SAGA.step("apply"), _firewall, "firewall"),
        each(domain_setup.SAGA.step("zones"), _domain),
        each(domain_setup.SAGA.step("records"), _domain),
        each(domain_setup.SAGA.step("resolves"), _domain),
        each(domain_setup.SAGA.step("site"), _domain),
        each(domain_setup.SAGA.step("certificate"), _domain),
        Step("record", "all of it is the project's, and its variables say so", record=_record, commits=True),
        each(firewall.SAGA.step("settle"), _firewall),
        each(storage_create.DATABASE.step("files"), lambda value: value.storage),
    ),
    deadline=lambda policy: policy.deploy_seconds,
    result=_result,
    summary=lambda value: f"set up {value.project}",
    opened=_opened,
    failed=_failed,
)
