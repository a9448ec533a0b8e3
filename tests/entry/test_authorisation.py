"""The matrix of who may do what: every tool, every kind of caller, every door, with the database and without it.

What is to be expected is worked out here from the catalogue and the reviewed tables (`tests.rights`, and the ones below),
not by the gate. A call that is denied changes nothing: not the registry, not the machine, not the proxy.

Shows S5, S6, S8, S9, S13.
"""

import json
import os
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from codeb.contracts.store import Standing
from codeb.drivers.store.sql import SqlStore
from codeb.model.access import Member, Role
from codeb.model.secret import Secret
from codeb.tools.catalog import BY_NAME, TOOLS
from codeb.tools.tool import Tool
from tests.entry.doors import DOORS, opened, params
from tests.kit import START, Still, add_key, begin, still
from tests.rights import OPERATORS, ROLES

pytestmark = pytest.mark.anyio

FULL = os.environ.get("CODEB_TEST_SIZE") == "full"
NEEDED = {name: Role(role) for role, names in ROLES.items() for name in names}
STRANGERS = ("none", "malformed", "revoked", "expired", "removed")
SCOPED = ("other tools", "other project", "other environment")
CALLERS = (*STRANGERS, *(role.value for role in Role), "rival", *SCOPED)
STANDS = ("normal", "degraded")

WHOLE = {"team_create", "team_settings", "team_delete", "keys_rotate"}
"""what concerns the whole team or more: not for an owner key that is narrowed, to whatever it is"""
HANDS_ON = {"token_create", "member_invite", "member_remove", "firewall_allow", "firewall_deny"}
"""what a narrowed key may, as far as nothing it makes or ends reaches beyond it"""
AWAY = {
    "deploy", "promote", "rollback", "slot_cleanup", "operation_cancel", "reconcile", "env_set", "env_sync", "env_restore",
    "maintenance_on", "maintenance_off",
}  # fmt: skip
"""what changes something and goes on while the database is away"""
SAYS_BACK = {"port_import"}
"""what repeats the names in the caller's own file"""
READS_IT_ALL = {"audit_verify"}
"""what changes nothing, and has no answer without the database"""
CHANGES = {tool.name: "idempotencyKey" in tool.params.model_json_schema(by_alias=True)["properties"] for tool in TOOLS}


def expected(tool: Tool[Any], caller: str, stand: str) -> tuple[int, str] | None:
    """Status and code of the refusal; None: the caller is let in."""
    if caller in STRANGERS:
        return 401, "unauthenticated"
    role = Role(caller) if caller in list(Role) else Role.OWNER
    said = params(tool)
    if not role.covers(NEEDED[tool.name]) or caller == "other tools":
        return 403, "forbidden"
    if caller == "other environment" and ("environment" in said or isinstance(vars(tool.params).get("environment"), property)):
        return 403, "forbidden"
    if caller == "other project" and "projectName" in said:
        return 404, "project_not_found"
    if stand == "degraded" and ((CHANGES[tool.name] and tool.name not in AWAY) or tool.name in READS_IT_ALL):
        return 503, "degraded"
    if caller == "rival" and tool.name in OPERATORS:
        return 403, "forbidden"
    if caller == "other environment" and tool.name in ("workflow_init", "project_update", "pr_merge"):
        # they are about several, or what they begin is, and look at them themselves
        return 403, "forbidden"
    if caller == "rival" and said.get("projectName") == "shop":
        return 404, "project_not_found"
    if caller in ("rival", "other project") and said.get("repository") == "shop":
        return 404, "repository_not_found"
    if caller == "rival" and tool.name == "team_delete":
        return 404, "team_not_found"
    if caller in SCOPED and tool.name in WHOLE | OPERATORS:
        return 403, "forbidden"
    return None


CELLS = [(tool.name, caller, door, stand) for tool in TOOLS for caller in CALLERS for door in DOORS for stand in STANDS]
SEEN: Counter[str] = Counter()
SUCCEEDED: set[str] = set()
DONE: set[tuple[str, str]] = set()


MADE: list[tuple[Still, dict[str, Secret | None]]] = []


async def everybody() -> tuple[Still, dict[str, Secret | None]]:
    """The shop, a rival's team, and a key for every kind of caller; made once."""
    if not MADE:
        async with begin("grace") as rig:
            keys: dict[str, Secret | None] = {
                "none": None,
                "malformed": Secret("not-a-key"),
                "revoked": await add_key(rig, revoked_at=START),
                "expired": await add_key(rig, expires_at=START - timedelta(seconds=1)),
                "removed": await add_key(rig, member="mem_gone"),
                **{role.value: await add_key(rig, role) for role in Role},
                "rival": await add_key(rig, team="rivals"),
                "other tools": await add_key(rig, tools=frozenset({"nothing_else"})),
                "other project": await add_key(rig, projects=frozenset({"other"})),
                "other environment": await add_key(rig, environments=frozenset({"staging"})),
            }
            async with rig.store.write() as registry:
                await registry.members.add(Member("mem_gone", "main", "bea", Role.OWNER, START))
                await registry.members.remove(START, "mem_gone")
            MADE.append((still(rig), keys))
    return MADE[0]


@pytest.fixture(autouse=True)
def nobody_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`we` finds no settings and no key of the person who runs the tests."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CODEB_HOME", str(tmp_path))


def stands(patch: pytest.MonkeyPatch, stand: str) -> None:
    if stand == "degraded":
        patch.setattr(SqlStore, "standing", property(lambda _: Standing(away_since=START, why="the test took it away")))


@pytest.mark.parametrize("stand", STANDS)
@pytest.mark.parametrize("name", BY_NAME)
async def test_declared_is_observed_at_every_door(name: str, stand: str, monkeypatch: pytest.MonkeyPatch) -> None:
    state, keys = await everybody()
    tool = BY_NAME[name]
    stands(monkeypatch, stand)
    denied = {caller: fault for caller in CALLERS if (fault := expected(tool, caller, stand))}
    async with opened(state) as doors:
        before = doors.rig.print()
        for caller, fault in denied.items():
            for door in DOORS:
                status, body = await doors.ask(door, tool, keys[caller])
                assert (status, body.get("code")) == fault, f"{name} by {caller} through {door}, {stand}: {status} {body}"
                assert doors.rig.print() == before, f"{name} by {caller} through {door}, {stand}"
                assert doors.rig.effects() == [], f"{name} by {caller} through {door}, {stand}"
                SEEN[f"{fault[0]}"] += 1
    for number, caller in enumerate(caller for caller in CALLERS if caller not in denied):
        # each in a CodeB of its own, for it changes something: in the small size through one door each
        for door in DOORS if FULL else [DOORS[(number + len(name)) % len(DOORS)]]:
            async with opened(state) as doors:
                status, body = await doors.ask(door, tool, keys[caller])
            where = f"{name} by {caller} through {door}, {stand}: {status} {body}"
            limits = caller in SCOPED and name in HANDS_ON and body.get("code") in ("forbidden", "forbidden")
            assert status in (200, 404, 409) or limits, where
            if caller == "rival" and name not in SAYS_BACK:
                assert "shop" not in json.dumps({**body, "hint": ""}), where
            SEEN["let in"] += 1
            SUCCEEDED.update([name] if status == 200 else [])
    DONE.add((name, stand))


def test_every_cell_was_looked_at() -> None:
    """Last in the file."""
    print(f"\n{SEEN.total()} cells of {len(CELLS)}: {dict(SEEN)}")
    assert len(CELLS) == len(TOOLS) * len(CALLERS) * len(DOORS) * len(STANDS) >= 3500
    assert set(NEEDED) == set(BY_NAME)
    assert {tool.name for tool in TOOLS if tool.without_database} == AWAY
    ran = len(DONE) == len(TOOLS) * len(STANDS)
    let_in = [tool.name for tool in TOOLS for caller in CALLERS for stand in STANDS if expected(tool, caller, stand) is None]
    if ran:
        assert SEEN.total() == len(CELLS) - (0 if FULL else len(let_in) * (len(DOORS) - 1))
        assert len(SUCCEEDED) >= 30, "who is let in gets something done, wherever there is something to do in this shop"
