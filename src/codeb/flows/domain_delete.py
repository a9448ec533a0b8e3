"""Domain delete: the name leads nowhere any more, and is remembered as given back. All of it, or nothing.

site -> records -> zones -> RELEASE
"""

from dataclasses import dataclass, replace
from typing import Any

from codeb.contracts.store import Registry
from codeb.flows.names import ZonePlan, drop_records, restore_records
from codeb.model.domains import Domain, DomainState
from codeb.model.names import Place
from codeb.model.specs import Site
from codeb.saga.step import Run, Saga, Step


@dataclass(frozen=True)
class DeleteInput:
    place: Place
    domains: tuple[Domain, ...]
    """the one that was asked for first, then those that send their visitors to it"""
    site: Site
    """without these names"""
    former: Site
    plans: tuple[ZonePlan, ...]

    @property
    def hosts(self) -> tuple[str, ...]:
        return tuple(domain.host for domain in self.domains)


async def _site(run: Run[DeleteInput]) -> None:
    await run.kit.proxy.put_site(run.input.site)


async def _unsite(run: Run[DeleteInput]) -> None:
    await run.kit.proxy.put_site(run.input.former)


async def _records(run: Run[DeleteInput]) -> None:
    for plan in run.input.plans:
        await drop_records(run.kit, plan)


async def _unrecord(run: Run[DeleteInput]) -> None:
    for plan in run.input.plans:
        await restore_records(run.kit, plan)


async def _zones(run: Run[DeleteInput]) -> None:
    """A zone that we made goes with the last name in it."""
    for plan in run.input.plans:
        if run.kit.dns is not None:
            await run.kit.dns.drop_zone(plan.zone)


async def _unzone(run: Run[DeleteInput]) -> None:
    for plan in run.input.plans:
        if run.kit.dns is not None and await run.kit.dns.records(plan.zone) is None:
            await run.kit.dns.make_zone(plan.zone)


async def release(registry: Registry, domains: tuple[Domain, ...]) -> None:
    """Nobody's any more. What is remembered keeps a record that was left behind from being the next one's proof."""
    await registry.domains.put(*(replace(each, state=DomainState.RELEASED, zone="", redirect_to="") for each in domains))


async def _release(run: Run[DeleteInput], registry: Registry) -> None:
    await release(registry, run.input.domains)


def _result(run: Run[DeleteInput]) -> dict[str, Any]:
    return {
        "projectName": run.input.place.project, "environment": run.input.place.environment, "domain": run.input.hosts[0],
        "deleted": list(run.input.hosts),
    }  # fmt: skip


SAGA: Saga[DeleteInput] = Saga(
    name="domain_delete",
    version=1,
    input=DeleteInput,
    steps=(
        Step("site", "the proxy does not serve the names any more", do=_site, undo=_unsite, apart=True),
        Step("records", "their records are gone from our DNS server", do=_records, undo=_unrecord),
        Step("zones", "a zone made for them is gone", do=_zones, undo=_unzone),
        Step("release", "the names are nobody's", record=_release, commits=True),
    ),
    deadline=lambda policy: policy.switch_seconds,
    result=_result,
    summary=lambda value: f"delete {value.hosts[0]} of {value.place.project} {value.place.environment}",
)
