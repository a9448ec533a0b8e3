"""Preview delete: nothing is left of the environment of a pull request.

sites -> RETIRE -> names -> containers -> network -> env -> storage -> erase

It loses its traffic first. From the commit point on, forward only, nothing runs in it by the registry's word, and nothing new
may begin on it: a removal whose later steps failed leaves it `ending`; the timer, or a call, finishes it. What is done is what
a purge does of a whole project.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from codeb.contracts.store import Registry
from codeb.errors import Conflict, StepFailed
from codeb.flows import mend, project_purge
from codeb.flows.domain_delete import release
from codeb.flows.mend import MendInput
from codeb.flows.project_purge import PurgeInput
from codeb.flows.storage import DUMP_SECONDS
from codeb.flows.storage import release as forget
from codeb.model.events import Event, Severity
from codeb.model.names import Place
from codeb.model.previews import Preview
from codeb.model.slots import Pair, SlotRow
from codeb.saga.step import Run, Saga, Step, each

GONE = ("names", "containers", "network", "env", "storage")


@dataclass(frozen=True)
class PreviewEndInput:
    place: Place
    rest: PurgeInput
    """what it has, as of a project with this one environment"""
    number: int
    why: str
    before: MendInput | None = None
    """how its site was; None: it had none"""


async def _sites(run: Run[PreviewEndInput]) -> None:
    await run.kit.proxy.remove_site(run.input.place)


async def _back(run: Run[PreviewEndInput]) -> None:
    """Site, switch and what may stand in, as the registry still has them."""
    if run.input.before is None:
        return
    for name in ("site", "switch", "stand_in"):
        act = mend.SAGA.step(name).do
        assert act is not None
        await act(run.about(run.input.before))


async def _retire(run: Run[PreviewEndInput], registry: Registry) -> None:
    place, now = run.input.place, run.kit.world.now()
    known = await registry.previews.get(place) or Preview(place, 0, now, now, run.operation.actor)
    await registry.previews.put(replace(known, ending=True))
    await registry.maintenances.remove(place)
    await registry.envs.remove(place)
    if pair := await registry.slots.pair(place):
        await _empty(registry, run.kit.policy.server, pair)


async def _empty(registry: Registry, server: str, pair: Pair) -> None:
    """Both slots, whatever they hold, with the ports of the pair; one that a container had brought along is nobody's."""
    rest = [SlotRow(pair.place, row.slot, pair.own_port(row.slot)) for row in pair.rows]
    await registry.leases.remove(server, [row.port for row in pair.rows if row.port not in {each.port for each in rest}])
    await registry.slots.put(*rest)


def _rest(value: PreviewEndInput) -> Sequence[PurgeInput]:
    return (value.rest,)


async def _network(run: Run[PreviewEndInput]) -> None:
    """The project's, where no other environment uses it. Whoever is just about to makes it anew."""
    here = run.input.place
    if any(place.project == here.project and place != here for place in run.kit.store.snapshot.pairs):
        return
    with suppress(Conflict):
        await run.kit.networks.remove_network(here.project)


async def _env(run: Run[PreviewEndInput]) -> None:
    """The files; their rows went as it was retired."""
    await run.kit.env_files.remove(run.input.place.project, run.input.place.environment)


async def _erase(run: Run[PreviewEndInput], registry: Registry) -> None:
    value = run.input
    left = [name for name in GONE if name not in run.outputs]
    if left:
        raise StepFailed(f"not erased, because of: {', '.join(left)}", code="not_all_gone", hint="It is tried again by itself.")
    await release(registry, value.rest.domains)
    for held in value.rest.storage:
        await forget(registry, held.part)
    await registry.envs.remove(value.place)
    await registry.slots.remove(value.place)
    await registry.leases.remove(run.kit.policy.server, value.rest.ports)
    await registry.previews.remove(value.place)
    await registry.events.add(
        Event(
            id=run.kit.world.new_id("ev"), at=run.kit.world.now(), kind="preview_ended", severity=Severity.INFO,
            text=f"The preview of pull request {value.number} of {value.place.project} is gone: {value.why}.",
            team=run.operation.team, project=value.place.project, environment=value.place.environment,
            operation_id=run.operation.id,
        )
    )  # fmt: skip


def _result(run: Run[PreviewEndInput]) -> dict[str, Any]:
    value, gone = run.input, "erase" in run.outputs
    return {
        "projectName": value.place.project, "environment": value.place.environment, "pullRequest": value.number,
        "deleted": gone, "why": value.why, "releasedPorts": list(value.rest.ports) if gone else [],
    }  # fmt: skip


def _of_purge(name: str) -> Step[PreviewEndInput]:
    return each(project_purge.SAGA.step(name), _rest)


SAGA: Saga[PreviewEndInput] = Saga(
    name="preview_delete",
    version=1,
    input=PreviewEndInput,
    steps=(
        Step("sites", "take its site from the proxy", do=_sites, undo=_back, apart=True),
        Step("retire", "nothing runs in it any more, and nothing new may begin", record=_retire, commits=True),
        _of_purge("names"),
        _of_purge("containers"),
        Step("network", "remove the project's network, where nothing else uses it", do=_network),
        Step("env", "remove the files of its environment variables", do=_env),
        _of_purge("storage"),
        Step("erase", "free its ports and its names", record=_erase),
    ),
    deadline=lambda policy: max(policy.deploy_seconds, DUMP_SECONDS),
    result=_result,
    summary=lambda value: f"remove the preview of pull request {value.number} of {value.place.project} ({value.why})",
)
