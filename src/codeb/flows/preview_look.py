"""Looking at previews: how their pull requests stand, as far as somebody can say."""

import asyncio
from collections.abc import Collection, Mapping
from contextlib import suppress

from codeb.contracts.kit import Kit
from codeb.flows.pulls import state_of
from codeb.model.drift_previews import is_quiet
from codeb.model.names import Place
from codeb.model.previews import number_of
from codeb.model.pulls import PullState
from codeb.model.specs import Project

ASK_SECONDS, AT_ONCE = 5.0, 8


async def states(kit: Kit, places: Collection[Place]) -> Mapping[Place, PullState]:
    """How the pull requests of those that are kept there stand. A preview that was just deployed is not asked about.

    Never raises: `UNKNOWN` for whatever keeps one from being known, a host that takes its time too.
    """
    snapshot, now, turns = kit.store.snapshot, kit.world.now(), asyncio.Semaphore(AT_ONCE)

    async def ask(project: Project, number: int) -> PullState:
        async with turns:
            with suppress(TimeoutError):
                async with asyncio.timeout(ASK_SECONDS):
                    return await state_of(kit, project, number)
        return PullState.UNKNOWN

    kept = [place for place in sorted(places) if place in snapshot.previews and is_quiet(snapshot.previews[place], now)]
    asked = [(place, snapshot.projects[place.project], number_of(place.environment) or 0) for place in kept]
    found = await asyncio.gather(*(ask(project, number) for _, project, number in asked))
    return dict(zip(kept, found, strict=True))


async def not_known(kit: Kit, places: Collection[Place]) -> str:
    """What to warn of where nobody can say how pull requests stand; empty: of all it is known."""
    lost = [place.key for place, state in (await states(kit, places)).items() if state is PullState.UNKNOWN]
    if not lost:
        return ""
    return (
        f"How the pull requests of {', '.join(lost)} stand is not known, so these previews end by their time alone. "
        "It takes a token for GitHub, and the project's repository."
    )
