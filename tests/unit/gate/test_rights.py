"""Who may do what, generated from the catalogue: declared is observed, a denied call changes nothing (S5, S6, S8, S9, S13)."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from codeb.model.access import Member, Role
from codeb.model.secret import Secret
from codeb.tools.catalog import BY_NAME, TOOLS
from codeb.tools.fields import Changing, Long, OnEnvironment
from codeb.tools.tool import Tool
from tests.kit import START, Rig, add_key, begin
from tests.rights import EXAMPLES, OPERATORS, RECORDS, ROLES

pytestmark = pytest.mark.anyio

CELLS = [(tool.name, role) for tool in TOOLS for role in Role]


def test_the_catalogue_agrees_with_the_table() -> None:
    assert {tool.name: tool.role.value for tool in TOOLS} == {name: role for role, names in ROLES.items() for name in names}
    assert len(CELLS) == len(TOOLS) * 4


async def audit(rig: Rig) -> Any:
    async with rig.store.read() as registry:
        return (await registry.audit.latest(1))[0]


@pytest.mark.parametrize(("name", "role"), CELLS)
async def test_declared_is_observed(name: str, role: Role) -> None:
    needed = Role(next(has for has, names in ROLES.items() if name in names))
    async with begin("grace") as rig:
        process, key, before = rig.boot(), await add_key(rig, role), rig.print()
        said = await process.ask(name, key=key, **EXAMPLES.get(name, {}))
        await process.audit.flush()
        row = await audit(rig)
        assert (row.tool, row.ok, row.role) == (name, said.ok, role.value)
        if role.covers(needed):
            assert said.status != 403
            return
        assert (said.status, said.body["code"], row.code) == (403, "forbidden", "forbidden")
        assert rig.print() == before
        assert rig.effects() == []


@pytest.mark.parametrize("name", sorted(OPERATORS))
async def test_what_concerns_every_team_is_for_the_operators_alone(name: str) -> None:
    async with begin("grace") as rig:
        process, rival, before = rig.boot(), await add_key(rig, team="rivals"), rig.keys.keys
        for said in [{}, {"dryRun": True}] if BY_NAME[name].changes else [{}]:
            body = await process.refused(name, 403, "forbidden", key=rival, **EXAMPLES.get(name, {}), **said)
            assert "only the team that operates it" in body["error"]
        assert rig.keys.keys == before


@pytest.mark.parametrize("name", sorted(RECORDS))
async def test_records_of_a_project_that_is_foreign_or_never_was_are_none_alike(name: str) -> None:
    """S5: answer and way are the same."""
    async with begin("grace") as rig:
        process, rival, narrow = rig.boot(), await add_key(rig, team="rivals"), await add_key(rig, projects=frozenset({"other"}))
        answers = []
        for project in ("shop", "shoq"):
            body = await process.ok(name, key=rival, projectName=project)
            body = {k: v for k, v in body.items() if k not in ("duration", "timestamp", "untrusted")}
            assert body["warnings"] == [f"There is no project {project} now; shown is what is on record of it."]
            answers.append(repr(body).replace(project, "*"))
            await process.refused(name, 404, "project_not_found", key=narrow, projectName=project)
        assert answers[0] == answers[1]
        assert BY_NAME[name].result.model_fields.keys() & {"rows", "events", "operations", "approvals"}
        assert not [each for each in body.values() if isinstance(each, list) and each and each != body["warnings"]], body


SETS_UP = ("workflow_init", "project_adopt", "port_import", "workflow_scan")
"""whose project need not be there"""
SCOPED = [tool.name for tool in TOOLS if "project_name" in tool.params.model_fields and tool.name not in SETS_UP]
PLACED = [tool.name for tool in TOOLS if issubclass(tool.params, OnEnvironment)]


@pytest.mark.parametrize("name", SCOPED)
async def test_unknown_foreign_and_out_of_reach_are_the_same_404(name: str) -> None:
    async with begin("grace") as rig:
        process = rig.boot()
        keys = {
            "unknown": (await add_key(rig), "shoq"),
            **({} if name in RECORDS else {"foreign": (await add_key(rig, team="rivals"), "shop")}),
            "out of reach": (await add_key(rig, projects=frozenset({"other"})), "shop"),
        }
        answers, before = {}, rig.print()
        for kind, (key, project) in keys.items():
            params = {**EXAMPLES.get(name, {}), "projectName": project} | (
                {"confirm": project} if name == "project_delete" else {}
            )
            said = await process.ask(name, key=key, **params)
            body = {k: v for k, v in said.body.items() if k not in ("duration", "timestamp", "hint")}
            answers[kind] = (said.status, repr(body).replace(project, "*"))
            if kind != "unknown":
                assert "shop" not in said.body["hint"]
        if name in RECORDS:
            assert answers.pop("unknown")[0] == 200
        assert all(status == 404 for status, _ in answers.values())
        assert len(set(answers.values())) == 1
        assert rig.print() == before


@pytest.mark.parametrize("name", PLACED)
async def test_a_key_for_staging_does_not_reach_production(name: str) -> None:
    async with begin("grace") as rig:
        key = await add_key(rig, environments=frozenset({"staging"}))
        before = rig.print()
        params = {**EXAMPLES[name], "environment": "production"}
        said = await rig.boot().ask(name, key=key, **params)
        assert (said.status, said.body["code"]) == (403, "forbidden")
        assert rig.print() == before


@pytest.mark.parametrize("tool", [tool.name for tool in TOOLS])
async def test_a_key_for_one_tool_uses_no_other(tool: str) -> None:
    async with begin("grace") as rig:
        key = await add_key(rig, tools=frozenset({"nothing_else"}))
        said = await rig.boot().ask(tool, key=key, **EXAMPLES.get(tool, {}))
        assert (said.status, said.body["code"]) == (403, "forbidden")


async def test_bad_keys_get_one_answer() -> None:
    async with begin("active") as rig:
        bad = [
            Secret("codeb_main_owner_wrong"),
            Secret(""),
            Secret("\ud800"),
            Secret("x" * 100_000),
            await add_key(rig, revoked_at=START),
            await add_key(rig, expires_at=START - timedelta(seconds=1)),
            await add_key(rig, team="gone"),
            await add_key(rig, member="mem_gone"),
            await add_key(rig, member="mem_nobody"),
        ]
        async with rig.store.write() as registry:
            await registry.teams.delete(START, "gone")
            await registry.members.add(Member("mem_gone", "main", "ana", Role.OWNER, START))
            await registry.members.remove(START, "mem_gone")
        process = rig.boot()
        said = [await process.ask("project_list", key=key) for key in bad]
        assert {(each.status, each.body["code"], each.body["error"], each.body["hint"]) for each in said} == {
            (401, "unauthenticated", said[0].body["error"], said[0].body["hint"])
        }
        assert (await process.ask("project_list", key=None)).status == 401
        # who is not known learns nothing about tools either
        assert (await process.ask("no_such", key=bad[0])).body["code"] == "unauthenticated"


async def test_the_role_in_the_text_of_a_key_counts_for_nothing() -> None:
    async with begin("active") as rig:
        viewer = await add_key(rig, Role.VIEWER)
        lie = Secret(viewer.reveal().replace("viewer", "owner"))
        assert (await rig.boot().ask("project_list", key=lie)).status == 401


async def test_a_misspelt_tool_is_suggested_only_to_who_may_use_it() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        assert "slot_cleanup" in (await process.refused("slot_clenup", 404, "unknown_tool"))["hint"]
        viewer = await add_key(rig, Role.VIEWER)
        assert "slot_cleanup" not in (await process.refused("slot_clenup", 404, "unknown_tool", key=viewer))["hint"]
        for odd in (None, 7, [], "x" * 10_000):
            assert (await process.ask(odd)).status == 404  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        {"role": None},
        {"role": "owner"},
        {"risk": None},
        {"params": dict},
        {"result": dict},
        {"name": "Deploy"},
        {"name": "a_b_c"},
        {"long": False},
    ],
)
def test_a_tool_without_role_risk_or_schema_cannot_be_built(change: dict[str, Any]) -> None:
    deploy = next(tool for tool in TOOLS if tool.name == "deploy")
    with pytest.raises((TypeError, ValueError)):
        replace(deploy, **change)


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_what_changes_something_can_be_rehearsed(tool: Tool[Any]) -> None:
    assert tool.changes == issubclass(tool.params, Changing)
    assert tool.long == issubclass(tool.params, Long)
    assert tool.title
    assert tool.about
