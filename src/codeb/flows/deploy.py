"""Deploy: put one version into the idle slot and show it at its preview host. The active slot is never touched.

validate, slot, record -> pull -> clear -> env -> start -> health -> preview -> COMMIT -> tidy

Whatever stood in the slot is stopped and set aside, not removed, until the new version is healthy; a failed deploy
brings it back, a grace with its end as it was.
"""

from dataclasses import dataclass, replace
from typing import Any

from codeb.contracts.kit import Kit, Policy
from codeb.contracts.store import Registry
from codeb.errors import PublicError, StepFailed
from codeb.flows import envs, promote
from codeb.flows.health import until_healthy
from codeb.flows.site import prove
from codeb.flows.units import unit_of_slot
from codeb.model import names
from codeb.model.journal import Operation
from codeb.model.names import Place, Slot
from codeb.model.slots import Event, State
from codeb.model.specs import Deployment, Limits, Site
from codeb.saga.step import Next, Run, Saga, Step

UNPROVEN_STOP_SECONDS = 10
"""for a container that never had traffic: its undoing is what the caller of a failed deploy waits for"""
RESTORED_SECONDS = 15.0
"""how long a grace container that was brought back may take to answer before it is a fallback again"""


@dataclass(frozen=True)
class DeployInput:
    """Everything an undo may rely on; fixed when the operation opens."""

    place: Place
    slot: Slot
    port: int
    image: str
    version: str
    deployment_id: str
    container_port: int
    health_path: str
    health_seconds: float
    limits: Limits
    site: Site
    site_is_new: bool
    pair_is_new: bool
    auto_promote: bool
    former_state: State
    former_version: str | None
    former_runs: bool
    preview_url: str
    former_site: Site | None = None
    """the site as it was, where this deploy changes it"""
    former_container_port: int | None = None
    """what the version before listens on, where that is another port"""
    former_adopted: str | None = None
    """the id of the container before, where CodeB did not make it"""
    env_version: int | None = None
    """of its environment variables: the newest when the deploy began, whatever is written meanwhile"""
    validate_ms: float = 0.0
    slot_ms: float = 0.0

    @property
    def container(self) -> str:
        return self.place.container(self.slot)

    @property
    def before(self) -> Site:
        """The site of the version that this one replaces."""
        return self.former_site or self.site


async def _opened(value: DeployInput, operation: Operation, registry: Registry) -> None:
    await registry.deployments.add(
        Deployment(
            id=value.deployment_id, place=value.place, slot=value.slot, version=value.version, image=value.image,
            status="pending", created_at=operation.created_at, created_by=operation.actor, operation_id=operation.id,
            env_version=value.env_version,
        )
    )  # fmt: skip


async def _pull(run: Run[DeployInput]) -> dict[str, Any]:
    image = await run.kit.images.resolve(run.input.image)
    run.warn(image.warning)
    return {"imageId": image.id, "digest": image.digest, "healthcheck": image.has_healthcheck}


async def _clear(run: Run[DeployInput]) -> None:
    value = run.input
    if value.former_state is State.GRACE:
        await run.kit.proxy.set_fallback(value.place, False)
    await run.kit.runtime.shelve(value.container, value.limits.stop_seconds)


async def _unclear(run: Run[DeployInput]) -> None:
    value = run.input
    await run.kit.runtime.unshelve(value.container, start=value.former_runs)
    if value.former_state is not State.GRACE or not value.former_runs:
        return
    stands = await run.kit.runtime.look(value.container)
    if stands is not None and stands.deployment_id == value.deployment_id:
        # Its own undo failed and the former version is gone: what never was proven must not become a fallback.
        raise StepFailed(f"{value.container} still runs the version that failed, so it may not stand in.", code="not_undone")
    try:
        # By the site as it was, not by this deploy: what is asked is the version from before.
        await until_healthy(
            run.kit, value.container, container_port=value.former_container_port or value.container_port,
            host_port=value.before.port(value.slot), path=value.before.path(value.slot), seconds=RESTORED_SECONDS,
        )  # fmt: skip
    except StepFailed as slow:
        run.warn(f"The version in grace was started again and does not answer yet: {slow.message}")
    await run.kit.proxy.set_fallback(value.place, True)


async def _env(run: Run[DeployInput]) -> None:
    """The files for people; the container gets its variables from the registry, through the Docker API alone."""
    if run.input.env_version is not None:
        await envs.publish(run.kit, run.input.place)


async def _start(run: Run[DeployInput]) -> dict[str, Any]:
    value = run.input
    # never an output of a step: the journal keeps no secret
    variables = await envs.values_of(run.kit, value.place, value.env_version)
    unit = await run.kit.runtime.run(
        unit_of_slot(
            value.place, value.slot, deployment_id=value.deployment_id, operation_id=run.operation.id, version=value.version,
            image_id=run.outputs["pull"]["imageId"], port=value.port, container_port=value.container_port, limits=value.limits,
            env=variables,
        )
    )  # fmt: skip
    return {"containerId": unit.id}


async def _unstart(run: Run[DeployInput]) -> None:
    unit = await run.kit.runtime.look(run.input.container)
    if unit is not None and unit.deployment_id == run.input.deployment_id:
        await run.kit.runtime.remove(run.input.container, min(run.input.limits.stop_seconds, UNPROVEN_STOP_SECONDS))


async def _health(run: Run[DeployInput]) -> dict[str, Any]:
    value = run.input
    found = await until_healthy(
        run.kit, value.container, container_port=value.container_port, host_port=value.port,
        path=value.health_path, seconds=value.health_seconds,
    )  # fmt: skip
    await run.kit.runtime.keep(value.container)
    lasting = value.site.path(value.slot)
    if value.health_path != lasting:
        run.warn(f"{value.health_path} was asked for this deploy only; promote and the proxy ask {lasting}.")
    return found


async def _preview(run: Run[DeployInput]) -> dict[str, Any]:
    value = run.input
    reloaded = await run.kit.proxy.put_site(value.site)
    host = dict(value.site.preview_hosts)[value.slot]
    await prove(run.kit, host, value.health_path, value.slot)
    return {"proxyReloaded": reloaded}


async def _unpreview(run: Run[DeployInput]) -> None:
    if run.input.site_is_new:
        await run.kit.proxy.remove_site(run.input.place)
    elif run.input.former_site is not None:
        await run.kit.proxy.put_site(run.input.former_site)


async def _commit(run: Run[DeployInput], registry: Registry) -> None:
    value, now = run.input, run.kit.world.now()
    pair = await registry.slots.pair(value.place)
    assert pair is not None, "the pair is made in the transaction that opens a deploy"
    pulled = run.outputs["pull"]
    former = pair[value.slot]
    if former.port != value.port:
        await registry.leases.remove(run.kit.policy.server, [former.port])
    row = replace(
        former.moved(Event.DEPLOY), port=value.port, adopted=None, adopted_name=None, deployment_id=value.deployment_id,
        version=value.version, image=value.image, digest=pulled["digest"], image_id=pulled["imageId"], deployed_at=now,
        deployed_by=run.operation.actor, promoted_at=None, promoted_by=None, env_version=value.env_version,
        container_port=value.container_port, health_path=value.site.path(value.slot),
    )  # fmt: skip
    await registry.slots.put(row)
    await registry.deployments.change(
        value.deployment_id, status="success", digest=pulled["digest"], image_id=pulled["imageId"], ended_at=now
    )


async def _tidy(run: Run[DeployInput]) -> None:
    if run.input.former_adopted is not None:
        await run.kit.guests.remove(run.input.former_adopted, run.input.limits.stop_seconds)
    await run.kit.runtime.remove(names.kept(run.input.container), run.input.limits.stop_seconds)


async def _failed(run: Run[DeployInput], registry: Registry, fault: PublicError) -> None:
    value = run.input
    await registry.deployments.change(value.deployment_id, status="failed", ended_at=run.kit.world.now())
    if value.pair_is_new:
        await registry.slots.remove(value.place)
        await registry.leases.remove(run.kit.policy.server, [port for _, port in value.site.ports])


def _result(run: Run[DeployInput]) -> dict[str, Any]:
    value = run.input
    return {
        "projectName": value.place.project, "environment": value.place.environment, "slot": value.slot.value,
        "port": value.port, "image": value.image, "digest": run.outputs["pull"]["digest"], "version": value.version,
        "previewUrl": value.preview_url, "healthChecked": True, "deploymentId": value.deployment_id,
        "graceEnded": value.former_state is State.GRACE, "envVersion": value.env_version,
    }  # fmt: skip


async def _then(run: Run[DeployInput], registry: Registry) -> Next[Any] | None:
    if not run.input.auto_promote:
        return None
    pair = await registry.slots.pair(run.input.place)
    project = await registry.projects.get(run.input.place.project)
    assert pair is not None
    assert project is not None
    named = run.kit.store.snapshot.domains_of(run.input.place)
    return Next(promote.SAGA, "promote", promote.promotion(project, pair, pair[run.input.slot], run.kit.policy, named))


def _deadline(policy: Policy) -> float:
    return policy.deploy_seconds


SAGA: Saga[DeployInput] = Saga(
    name="deploy",
    version=2,
    input=DeployInput,
    opening=("validate", "slot", "record"),
    spent=lambda value: {"validate": value.validate_ms, "slot": value.slot_ms},
    opened=_opened,
    steps=(
        Step("pull", "have the image on this machine and pin what it is", do=_pull),
        Step("clear", "set aside what stands in the slot", do=_clear, undo=_unclear),
        Step("env", "write the files of its environment variables", do=_env),
        Step("start", "start the container, hardened, on 127.0.0.1 only", do=_start, undo=_unstart),
        Step("health", "wait until it is healthy in three ways", do=_health),
        # Apart: its undo takes a site away of which no slot is live, the others' are about containers. One that waits for
        # a dead proxy does not keep the container that had to go running, nor the grace from coming back.
        Step("preview", "see it answer at its preview host through the proxy", do=_preview, undo=_unpreview, apart=True),
        Step("commit", "the slot is deployed", record=_commit, commits=True),
        Step("tidy", "remove what had been set aside", do=_tidy),
    ),
    deadline=_deadline,
    result=_result,
    summary=lambda value: f"deploy {value.version} to {value.place.project} {value.place.environment} {value.slot}",
    failed=_failed,
    then=_then,
)


BEFORE_ENV: Saga[DeployInput] = replace(SAGA, version=1, steps=tuple(step for step in SAGA.steps if step.name != "env"))
"""as released before there were variables: what an older CodeB began is finished by the steps it was begun with"""


async def former_runs(kit: Kit, container: str) -> bool:
    """Whether a container stands in the slot and runs: read before the plan, to be brought back the same way."""
    unit = await kit.runtime.look(container)
    return unit is not None and unit.running
