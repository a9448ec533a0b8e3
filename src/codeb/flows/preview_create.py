"""Preview create: one image in the environment of a pull request, behind one address that stays.

opening: project, ports, variables -> pull -> clear -> env -> start -> health -> preview -> RECORD -> tidy, then a promote

The steps are those of a deploy, and the promote that grows out of it moves the traffic; a later call is the same on the
environment that is there. What fails takes everything back: a new environment leaves nothing, one that was there is as before.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from codeb.contracts.kit import Kit
from codeb.contracts.store import Registry
from codeb.errors import PublicError
from codeb.flows import deploy, envs
from codeb.flows.deploy import DeployInput
from codeb.model.journal import Operation
from codeb.model.names import Place
from codeb.model.previews import Preview
from codeb.saga.step import Next, Run, Saga, Step, each

INHERITED = "inherit"
"""how a version of variables says that nobody wrote it for this pull request"""


@dataclass(frozen=True)
class PreviewInput:
    deploy: DeployInput
    ttl_hours: int
    created: bool
    """whether the environment was made in the opening"""
    env_is_new: bool = False
    """whether it had no variables before"""

    @property
    def place(self) -> Place:
        return self.deploy.place


async def inherit(kit: Kit, registry: Registry, place: Place, by: str) -> bool:
    """Give a pull request the variables that the environment `preview` has now, as long as nobody wrote it some of its own.

    In the caller's transaction; whether they are its first ones. Raises as `envs.write` does.
    """
    now = await envs.newest(kit, registry, place)
    if now.version is not None and now.version.action != INHERITED:
        return False
    usual = await envs.newest(kit, registry, Place(place.project, "preview"))
    if usual.version is None:
        return False
    made = await envs.write(kit, registry, place, now, usual.env, by=by, action=INHERITED)
    return made is not None and now.version is None


def _deploy(value: PreviewInput) -> Sequence[DeployInput]:
    return (value.deploy,)


async def _unenv(run: Run[PreviewInput]) -> None:
    """The files of variables that it did not have before; their rows go with the end of the operation."""
    if run.input.env_is_new:
        await run.kit.env_files.remove(run.input.place.project, run.input.place.environment)


async def _opened(value: PreviewInput, operation: Operation, registry: Registry) -> None:
    await deploy.SAGA.opened(value.deploy, operation, registry)


async def _record(run: Run[PreviewInput], registry: Registry) -> dict[str, Any]:
    value, now = run.input, run.kit.world.now()
    await deploy.SAGA.recorded(run.about(value.deploy), registry)
    known = await registry.previews.get(value.place)
    ends = now + timedelta(hours=value.ttl_hours)
    since, by = (known.created_at, known.created_by) if known else (now, run.operation.actor)
    await registry.previews.put(Preview(value.place, value.ttl_hours, ends, since, by))
    return {"createdAt": since.isoformat(), "expiresAt": ends.isoformat()}


async def _failed(run: Run[PreviewInput], registry: Registry, fault: PublicError) -> None:
    await deploy.SAGA.failed(run.about(run.input.deploy), registry, fault)
    if run.input.env_is_new:
        await registry.envs.remove(run.input.place)


async def _then(run: Run[PreviewInput], registry: Registry) -> Next[Any] | None:
    return await deploy.SAGA.then(run.about(run.input.deploy), registry)


def _result(run: Run[PreviewInput]) -> dict[str, Any]:
    value = run.input
    return {
        **deploy.SAGA.result(run.about(value.deploy)), **run.outputs["record"], "created": value.created,
        "ttlHours": value.ttl_hours, "url": run.kit.policy.url(value.deploy.site.hosts[0]),
    }  # fmt: skip


SAGA: Saga[PreviewInput] = Saga(
    name="preview_create",
    version=1,
    input=PreviewInput,
    opening=("validate", "slot", "record"),
    spent=lambda value: {"validate": value.deploy.validate_ms, "slot": value.deploy.slot_ms},
    opened=_opened,
    steps=(
        each(deploy.SAGA.step("pull"), _deploy),
        each(deploy.SAGA.step("clear"), _deploy),
        replace(each(deploy.SAGA.step("env"), _deploy), undo=_unenv),
        each(deploy.SAGA.step("start"), _deploy),
        each(deploy.SAGA.step("health"), _deploy),
        each(deploy.SAGA.step("preview"), _deploy),
        Step("record", "the slot is deployed, and the preview is kept for its time from now on", record=_record, commits=True),
        each(deploy.SAGA.step("tidy"), _deploy),
    ),
    deadline=lambda policy: policy.deploy_seconds,
    result=_result,
    summary=lambda value: f"preview {value.deploy.version} as {value.place.project} {value.place.environment}",
    failed=_failed,
    then=_then,
)
