"""Maintenance: a page in front of one site, or away again. The page is one file that the proxy looks at: no reload.

site -> page -> RECORD
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from codeb.contracts.store import Registry
from codeb.model.domains import Maintenance
from codeb.model.names import Place
from codeb.model.specs import Site
from codeb.saga.step import Run, Saga, Step


@dataclass(frozen=True)
class PageInput:
    place: Place
    shown: bool
    before: bool
    """whether it was shown"""
    since: datetime
    site: Site
    site_is_new: bool


async def _site(run: Run[PageInput]) -> None:
    """It may be called before the first deploy."""
    if run.input.shown:
        await run.kit.proxy.put_site(run.input.site)


async def _unsite(run: Run[PageInput]) -> None:
    if run.input.site_is_new:
        await run.kit.proxy.remove_site(run.input.place)


async def _page(run: Run[PageInput]) -> None:
    if run.input.shown or await run.kit.curtain.drawn(run.input.place):
        await run.kit.curtain.draw(run.input.place, run.input.shown)


async def _unpage(run: Run[PageInput]) -> None:
    if await run.kit.curtain.drawn(run.input.place) is not run.input.before:
        await run.kit.curtain.draw(run.input.place, run.input.before)


async def _record(run: Run[PageInput], registry: Registry) -> None:
    value = run.input
    if value.shown:
        await registry.maintenances.put(Maintenance(value.place, value.since, run.operation.actor))
    else:
        await registry.maintenances.remove(value.place)


def _result(run: Run[PageInput]) -> dict[str, Any]:
    value = run.input
    return {
        "projectName": value.place.project, "environment": value.place.environment, "maintenance": value.shown,
        "since": value.since.isoformat() if value.shown else None,
    }  # fmt: skip


SAGA: Saga[PageInput] = Saga(
    name="maintenance",
    version=1,
    input=PageInput,
    steps=(
        Step("site", "there is a site to show the page in front of", do=_site, undo=_unsite),
        Step("page", "show the page, or take it away", do=_page, undo=_unpage),
        Step("record", "it is so until it is said otherwise", record=_record, commits=True),
    ),
    deadline=lambda policy: policy.switch_seconds,
    result=_result,
    summary=lambda value: f"maintenance {'on' if value.shown else 'off'} for {value.place.project} {value.place.environment}",
)
