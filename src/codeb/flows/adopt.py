"""Adopt: a container that somebody else made is the active version of an environment. It is not touched.

slot, record -> check -> variables -> stand -> site -> switch -> COMMIT -> files

It is looked at, asked, and given traffic: its name, labels, policy and life stay as they are. A failure takes back what CodeB
made round it: the site, the slot, the lease, and the project where that is new.
"""

from dataclasses import dataclass, replace
from typing import Any

from codeb.contracts.kit import Kit
from codeb.contracts.store import Registry
from codeb.errors import PublicError, StepFailed
from codeb.flows import envs
from codeb.flows.health import until_healthy
from codeb.flows.promote import switch
from codeb.flows.site import prove, put_back
from codeb.model.envs import Env
from codeb.model.guests import Guest, taken_env
from codeb.model.journal import Operation
from codeb.model.names import Place, Slot
from codeb.model.sealed import about_env
from codeb.model.slots import Event, SlotRow, State
from codeb.model.specs import Deployment, Site
from codeb.saga.step import Run, Saga, Step


@dataclass(frozen=True)
class AdoptInput:
    """Everything an undo may rely on; fixed when the operation opens."""

    place: Place
    slot: Slot
    port: int
    own_port: int
    """the slot's port of the leased pair: the same, or what the next version in this slot has"""
    container: str
    """its id"""
    name: str
    deployment_id: str
    image: str
    image_id: str
    digest: str
    version: str
    container_port: int
    health_path: str
    health_seconds: float
    site: Site
    former_site: Site | None
    """as the proxy has it; None: it has none"""
    project_is_new: bool
    pair_is_new: bool
    keep_env: bool
    url: str


async def _opened(value: AdoptInput, operation: Operation, registry: Registry) -> None:
    """The slot is claimed by the id of the container: no other one can have it from here on."""
    pair = await registry.slots.pair(value.place)
    assert pair is not None, "the pair is made in the transaction that opens this"
    await registry.slots.put(replace(pair[value.slot], port=value.port, adopted=value.container, adopted_name=value.name))
    await registry.deployments.add(
        Deployment(
            id=value.deployment_id, place=value.place, slot=value.slot, version=value.version, image=value.image,
            status="pending", created_at=operation.created_at, created_by=operation.actor, operation_id=operation.id,
            digest=value.digest, image_id=value.image_id,
        )
    )  # fmt: skip


async def still_there(kit: Kit, value: AdoptInput) -> Guest:
    """The very container. Raises `StepFailed` (`container_gone`)."""
    found = await kit.guests.find(value.container)
    if found is None or found.id != value.container or found.image_id != value.image_id:
        raise StepFailed(f"{value.name} is gone: somebody removed it.", code="container_gone", hint="Call it again.")
    return found


async def _check(run: Run[AdoptInput]) -> dict[str, Any]:
    value = run.input
    await still_there(run.kit, value)
    return await until_healthy(
        run.kit, value.place.container(value.slot), container_port=value.container_port, host_port=value.port,
        path=value.health_path, seconds=value.health_seconds,
    )  # fmt: skip


async def _variables(run: Run[AdoptInput]) -> dict[str, Any]:
    """What its variables are, sealed as the first version will be: the journal keeps no secret."""
    value = run.input
    if not value.keep_env:
        return {}
    values, left = taken_env(await still_there(run.kit, value))
    if left:
        run.warn(f"Not taken over: {', '.join(left)} (PORT is the platform's, CODEB_* are its own, others no names it takes).")
    return {"sealed": run.kit.vault.seal(Env(values).text(), _about(value))}


def _about(value: AdoptInput) -> str:
    return about_env(value.place.project, value.place.environment, 1)


async def _site(run: Run[AdoptInput]) -> dict[str, Any]:
    return {"proxyReloaded": await run.kit.proxy.put_site(run.input.site)}


async def _unsite(run: Run[AdoptInput]) -> None:
    await put_back(run.kit, run.input.place, run.input.former_site)


async def _switch(run: Run[AdoptInput]) -> None:
    value = run.input
    await switch(run.kit, value.place, value.slot)
    await prove(run.kit, value.site.hosts[0], value.health_path, value.slot)


async def _unswitch(run: Run[AdoptInput]) -> None:
    """Nobody had traffic before."""
    if run.input.place in await run.kit.proxy.sites():
        await switch(run.kit, run.input.place, None)


async def _stand(run: Run[AdoptInput], registry: Registry) -> None:
    value = run.input
    await registry.slots.put(
        SlotRow(
            place=value.place, slot=value.slot, port=value.port, state=State.DEPLOYED, deployment_id=value.deployment_id,
            version=value.version, image=value.image, digest=value.digest, image_id=value.image_id,
            deployed_at=run.kit.world.now(), deployed_by=run.operation.actor, container_port=value.container_port,
            health_path=value.health_path, adopted=value.container, adopted_name=value.name,
        )
    )  # fmt: skip


async def _commit(run: Run[AdoptInput], registry: Registry) -> dict[str, Any]:
    value, now = run.input, run.kit.world.now()
    kept = await _first_version(run, registry)
    pair = await registry.slots.pair(value.place)
    assert pair is not None
    row = pair[value.slot].moved(Event.PROMOTE)
    await registry.slots.put(replace(row, promoted_at=now, promoted_by=run.operation.actor))
    await registry.deployments.change(value.deployment_id, status="success", ended_at=now, promoted_at=now)
    return {"envVersion": kept}


async def _first_version(run: Run[AdoptInput], registry: Registry) -> int | None:
    """None where it was not asked for, or somebody wrote variables meanwhile: theirs count."""
    value, sealed = run.input, run.outputs["variables"].get("sealed")
    if sealed is None:
        return None
    now = await envs.newest(run.kit, registry, value.place)
    if now.version is not None:
        run.warn("Somebody wrote environment variables meanwhile, so those of the container were not taken over.")
        return None
    after = Env.of(run.kit.vault.open(sealed, _about(value)))
    version = await envs.write(run.kit, registry, value.place, now, after, by=run.operation.actor, action="adopt")
    return version.number if version else None


async def _files(run: Run[AdoptInput]) -> None:
    if run.outputs["commit"]["envVersion"] is not None:
        await envs.publish(run.kit, run.input.place)


async def _failed(run: Run[AdoptInput], registry: Registry, fault: PublicError) -> None:
    value, server = run.input, run.kit.policy.server
    await registry.deployments.change(value.deployment_id, status="failed", ended_at=run.kit.world.now())
    project = await registry.projects.get(value.place.project)
    if project is None:
        return
    if value.project_is_new and project.environments == (value.place.environment,):
        await registry.projects.remove(value.place.project)
        return
    if value.port != value.own_port:
        await registry.leases.remove(server, [value.port])
    if value.pair_is_new:
        await registry.slots.remove(value.place)
        await registry.leases.remove(server, [value.own_port, value.site.port(value.slot.other)])
    else:
        await registry.slots.put(SlotRow(value.place, value.slot, value.own_port))


def _result(run: Run[AdoptInput]) -> dict[str, Any]:
    value = run.input
    return {
        "projectName": value.place.project, "environment": value.place.environment, "slot": value.slot.value,
        "port": value.port, "containerPort": value.container_port, "container": value.name, "containerId": value.container,
        "image": value.image, "digest": value.digest, "version": value.version, "url": value.url,
        "deploymentId": value.deployment_id, "envVersion": run.outputs["commit"]["envVersion"],
    }  # fmt: skip


SAGA: Saga[AdoptInput] = Saga(
    name="project_adopt",
    version=1,
    input=AdoptInput,
    opening=("slot", "record"),
    opened=_opened,
    steps=(
        Step("check", "it is the container that was looked at, runs, and answers", do=_check),
        Step("variables", "seal its variables, where they are to be kept", do=_variables),
        Step("stand", "it is on record in its slot, without traffic", record=_stand),
        Step("site", "the environment has its site in the proxy", do=_site, undo=_unsite),
        Step("switch", "send the site's traffic to it, and see it answer through the proxy", do=_switch, undo=_unswitch),
        Step("commit", "it is the active version", record=_commit, commits=True),
        Step("files", "write the files of its environment variables", do=_files),
    ),
    deadline=lambda policy: policy.switch_seconds + policy.health_seconds,
    result=_result,
    summary=lambda value: f"take over {value.name} as {value.place.project} {value.place.environment}",
    failed=_failed,
)
