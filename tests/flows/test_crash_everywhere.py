"""P2, P1, P4: death at every journal point and around every outside effect of every saga, and of every recovery."""

from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest

from codeb.flows import (
    cleanup,
    deploy,
    image_delete,
    mend,
    preview_create,
    preview_delete,
    project_delete,
    project_purge,
    promote,
    rollback,
    undelete,
)
from codeb.saga.step import Run
from tests.flows.crash import SCENES, Sweep

pytestmark = pytest.mark.anyio

FLOORS = {
    "deploy, first": (250, 37), "deploy, new environment": (250, 37), "deploy, beside active": (220, 35),
    "deploy, over deployed": (480, 50), "deploy, over grace": (600, 58), "deploy, over grace, unhealthy": (490, 50),
    "deploy, over deployed, exits": (320, 38), "deploy, new environment, exits": (115, 24), "deploy and promote": (290, 47),
    "promote, first": (40, 11), "promote": (58, 12), "promote, never proven": (44, 10), "rollback": (68, 14),
    "rollback, never proven": (85, 13), "cleanup of grace": (48, 9), "cleanup of deployed": (32, 7), "project_delete": (165, 13),
    "undelete": (690, 55), "undelete, never proven": (690, 55), "project_delete, purge": (105, 7),
    "registry_gc": (39, 7), "pr_create": (24, 9), "pr_review": (28, 8), "pr_merge": (24, 9),
    "mend beside a grace": (160, 12), "mend with nobody left": (260, 16), "mend what stands aside": (260, 20),
    "mend a stray and a dead proxy": (160, 10), "domain_setup": (300, 40),
    "deploy, with variables": (600, 58), "mend, with variables": (160, 12),
    "domain_setup, before the first deploy": (300, 40), "domain_setup, no certificate": (370, 48), "domain_delete": (180, 25),
    "maintenance_on": (52, 12), "maintenance_on, before the first deploy": (83, 14), "maintenance_off": (52, 12),
    "mend names and a page": (155, 9),
    "workflow_init, whole": (1500, 130), "workflow_init, no certificate": (1700, 140),
    "project_adopt": (110, 19), "project_adopt, into a project, with its variables": (115, 21),
    "deploy over an adopted container": (450, 52), "deploy over an adopted container, fails": (320, 42),
    "cleanup of an adopted container": (58, 10), "purge an adopted container": (230, 11),
    "db_create": (65, 16), "redis_create": (22, 8), "db_rotate": (22, 8), "redis_rotate": (22, 8),
    "db_rotate, the end of the former": (28, 5), "redis_rotate, the end of the former": (28, 5), "db_delete": (52, 14),
    "redis_delete": (52, 14), "db_delete, not dumped": (43, 14), "project_delete, purge with storage": (115, 9),
    "db_create, in a container": (520, 52), "redis_create, in a container": (300, 36),
    "db_create, in a container, no image": (130, 21), "db_rotate, in a container": (33, 8),
    "db_delete, in a container": (130, 19), "redis_delete, in a container": (130, 19), "mend containers of storage": (65, 7),
    "project_delete, purge with containers of storage": (900, 40),
    "preview_create": (480, 62), "preview_create, again": (1000, 90), "preview_create, exits": (305, 43),
    "preview_delete": (235, 19),
}  # fmt: skip
"""deaths and different states they leave: fewer means that points were lost"""


@pytest.mark.parametrize("name", SCENES)
async def test_death_anywhere_is_recovered_from(name: str) -> None:
    sweep = await Sweep(SCENES[name]).run()
    assert sweep.faults == []
    deaths, states = FLOORS[name]
    assert sweep.deaths >= deaths, (sweep.deaths, sweep.states)
    assert sweep.states >= states, (sweep.deaths, sweep.states)


async def _nothing(*_: Any) -> None:
    return None


async def _yes(_: Run[Any]) -> bool:
    return True


async def _fallback_first(run: Run[Any]) -> None:
    """The forbidden order: the fallback is allowed while the other slot is still unproven."""
    await run.kit.proxy.set_fallback(run.input.place, True)


async def _remove_instead(run: Run[Any]) -> None:
    await run.kit.proxy.set_fallback(run.input.place, False)
    await run.kit.runtime.remove(run.input.container, 1)


FAULTS: dict[str, tuple[ModuleType, str, dict[str, Any], str]] = {
    "clear cannot be undone": (deploy, "clear", {"undo": None}, "deploy, over grace"),
    "start cannot be undone": (deploy, "start", {"undo": None}, "deploy, first"),
    "preview cannot be undone": (deploy, "preview", {"undo": None}, "deploy, new environment"),
    "nothing is tidied": (deploy, "tidy", {"do": _nothing}, "deploy, over grace"),
    "grace is removed, not shelved": (deploy, "clear", {"do": _remove_instead}, "deploy, over grace"),
    "landed always says yes": (promote, "switch", {"landed": _yes}, "promote"),
    "the fallback comes first": (promote, "check", {"do": _fallback_first}, "promote"),
    "the fallback never comes": (promote, "fallback", {"do": _nothing}, "promote"),
    "rollback cannot be undone": (rollback, "switch", {"undo": None}, "rollback, never proven"),
    "cleanup cannot be undone": (cleanup, "fallback", {"undo": None}, "cleanup of grace"),
    "cleanup leaves the container": (cleanup, "remove", {"do": _nothing}, "cleanup of deployed"),
    "deletion leaves the containers": (project_delete, "containers", {"do": _nothing}, "project_delete"),
    "undelete cannot put aside": (undelete, "containers", {"undo": None}, "undelete"),
    "undelete leaves its sites": (undelete, "sites", {"undo": None}, "undelete"),
    "purge leaves the containers": (project_purge, "containers", {"do": _nothing}, "project_delete, purge"),
    "a preview leaves its containers": (preview_delete, "containers", {"do": _nothing}, "preview_delete"),
    "a preview's site cannot come back": (preview_delete, "sites", {"undo": None}, "preview_delete"),
    "a preview's variables cannot be undone": (preview_create, "env", {"undo": None}, "preview_create, exits"),
    "the images stay": (image_delete, "erase", {"do": _nothing}, "registry_gc"),
    "mend starts nothing": (mend, "containers", {"do": _nothing}, "mend with nobody left"),
    "mend leaves the site": (mend, "site", {"do": _nothing}, "mend beside a grace"),
    "mend leaves the switch": (mend, "switch", {"do": _nothing}, "mend what stands aside"),
    "mend leaves what is left": (mend, "strays", {"do": _nothing}, "mend a stray and a dead proxy"),
    "mend lets anybody stand in": (mend, "site", {"do": _fallback_first}, "mend what stands aside"),
}


@pytest.mark.parametrize("name", FAULTS)
async def test_the_check_can_fail(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, step, change, scene = FAULTS[name]
    saga = module.SAGA
    steps = tuple(replace(each, **change) if each.name == step else each for each in saga.steps)
    monkeypatch.setattr(module, "SAGA", replace(saga, steps=steps))
    assert (await Sweep(SCENES[scene]).run()).faults


async def test_the_check_sees_a_failure_that_leaves_its_deployment_pending(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deploy, "SAGA", replace(deploy.SAGA, failed=_nothing))
    faults = (await Sweep(SCENES["deploy, over grace, unhealthy"]).run()).faults
    assert any("pending" in fault for fault in faults)
