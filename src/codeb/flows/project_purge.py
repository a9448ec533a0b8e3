"""Project purge: everything that a deleted project still has goes for good, forward only. Its final record stays.

RETIRE -> sites -> names -> firewall -> containers -> network -> env -> storage -> erase

A purge whose later steps failed leaves the project `purging`; the timer, or a call, finishes it.
"""

from dataclasses import dataclass
from typing import Any

from codeb.contracts.store import Registry
from codeb.errors import StepFailed
from codeb.flows import firewall, instances
from codeb.flows.domain_delete import release
from codeb.flows.names import drop_records, plans_of
from codeb.flows.storage import DUMP_SECONDS, drop, final_dump
from codeb.flows.storage_delete import EndInput
from codeb.model import deletion, names
from codeb.model.domains import Domain
from codeb.model.events import Event, Severity
from codeb.model.names import Place, Slot
from codeb.saga.step import Run, Saga, Step


@dataclass(frozen=True)
class PurgeInput:
    project: str
    places: tuple[Place, ...]
    ports: tuple[int, ...]
    stop_seconds: int
    why: str
    domains: tuple[Domain, ...] = ()
    storage: tuple[EndInput, ...] = ()
    """databases and Redis users, each with the final dump that it has already"""
    adopted: tuple[str, ...] = ()
    """ids of containers of it that CodeB did not make"""

    @property
    def containers(self) -> list[str]:
        return [place.container(slot) for place in self.places for slot in Slot]


async def _retire(run: Run[PurgeInput], registry: Registry) -> None:
    await registry.projects.set_state(run.input.project, deletion.PURGING)


async def _sites(run: Run[PurgeInput]) -> None:
    """Gone since the deletion; one that somebody brought back by hand must not outlive its ports."""
    for place in run.input.places:
        await run.kit.proxy.remove_site(place)


async def _firewall(run: Run[PurgeInput]) -> None:
    """Closed since the deletion; one that somebody opened again must not outlive its row."""
    await firewall.of_project(run.kit, run.input.project)


async def _containers(run: Run[PurgeInput]) -> None:
    for container in run.input.adopted:
        await run.kit.guests.remove(container, run.input.stop_seconds)
    for name in run.input.containers:
        await run.kit.runtime.remove(name, run.input.stop_seconds)
        await run.kit.runtime.remove(names.kept(name), run.input.stop_seconds)


async def _network(run: Run[PurgeInput]) -> None:
    await run.kit.networks.remove_network(run.input.project)


async def _env(run: Run[PurgeInput]) -> None:
    """The files; the versions in the registry go with the project."""
    await run.kit.env_files.remove(run.input.project)


async def _names(run: Run[PurgeInput]) -> None:
    """Its records, and the zones that were made for them."""
    for plan in plans_of(run.input.domains, run.kit.policy.public_addresses):
        await drop_records(run.kit, plan)
        if run.kit.dns is not None:
            await run.kit.dns.drop_zone(plan.zone)


async def _storage(run: Run[PurgeInput]) -> dict[str, Any]:
    """Each is dumped once more, then dropped; what cannot be dumped stays, and the project with it.

    Ports of its own containers are closed since the deletion: one that is to be dumped is opened for that.
    """
    for each in run.input.storage:
        if each.backup is None and each.part.instance is not None:
            await instances.let_in(run.kit, each.part.instance)
        if each.backup is None:
            await final_dump(run, each.part)
        await drop(run.kit, each.part)
    return {"dropped": [each.part.name for each in run.input.storage]}


async def _erase(run: Run[PurgeInput], registry: Registry) -> None:
    value = run.input
    steps = ("sites", "names", "firewall", "containers", "network", "env", "storage")
    left = [name for name in steps if name not in run.outputs]
    if left:
        raise StepFailed(f"not erased, because of: {', '.join(left)}", code="not_all_gone", hint="It is tried again by itself.")
    await release(registry, value.domains)
    await registry.rules.remove_of(value.project)
    await registry.projects.remove(value.project)
    await registry.events.add(
        Event(
            id=run.kit.world.new_id("ev"), at=run.kit.world.now(), kind="project_purged", severity=Severity.INFO,
            text=f"What was left of project {value.project} is gone for good: {value.why}.", team=run.operation.team,
            project=value.project, operation_id=run.operation.id,
        )
    )  # fmt: skip


def _result(run: Run[PurgeInput]) -> dict[str, Any]:
    gone = "erase" in run.outputs
    return {
        "projectName": run.input.project, "deleted": True, "purged": gone, "deletedAt": None, "backup": None,
        "releasedPorts": list(run.input.ports) if gone else [],
    }  # fmt: skip


SAGA: Saga[PurgeInput] = Saga(
    name="project_purge",
    version=2,
    input=PurgeInput,
    steps=(
        Step("retire", "it cannot be brought back any more", record=_retire, commits=True),
        Step("sites", "no site of it is in the proxy", do=_sites),
        Step("names", "no DNS record of it is left", do=_names),
        Step("firewall", "nothing is open for it", do=_firewall),
        Step("containers", "remove its containers", do=_containers),
        Step("network", "remove its network", do=_network),
        Step("env", "remove the files of its environment variables", do=_env),
        Step("storage", "dump and remove its databases and Redis users", do=_storage),
        Step("erase", "free its ports and its name", record=_erase),
    ),
    deadline=lambda policy: max(policy.deploy_seconds, DUMP_SECONDS),
    result=_result,
    summary=lambda value: f"purge project {value.project} ({value.why})",
)
