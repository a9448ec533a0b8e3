"""Tools that are not listed: found by words, called by their own name or through the door of their kind."""

import pytest

from codeb.entry.mcp.core import CORE
from codeb.model.access import Role
from codeb.tools.catalog import TOOLS
from tests.assistant import assistant, at, facts
from tests.kit import add_key, begin

pytestmark = pytest.mark.anyio

UNLISTED = [tool for tool in TOOLS if tool.name not in CORE]


async def test_the_list_has_the_core_in_its_order_and_then_the_doors() -> None:
    async with assistant() as one:
        names = await one.names()
        assert names[-3:] == ["tool_find", "tool_read", "tool_change"]
        assert names[:-3] == [name for name in CORE if name in {tool.name for tool in TOOLS}]


async def test_a_viewer_sees_only_what_a_viewer_may_do() -> None:
    async with begin("grace") as rig:
        key = await add_key(rig, role=Role.VIEWER)
        async with at(rig, rig.boot(), key) as one:
            names = await one.names()
            assert names[-2:] == ["tool_find", "tool_read"] and "tool_change" not in names
            shown = (await one.client.list_tools()).tools
            assert all(tool.annotations and tool.annotations.read_only_hint for tool in shown)
            assert "deploy" not in names and "slot_status" in names


async def test_a_key_of_few_tools_sees_those_and_no_door_it_has_no_need_of() -> None:
    async with begin("grace") as rig:
        key = await add_key(rig, tools=frozenset({"slot_status", "deploy"}))
        async with at(rig, rig.boot(), key) as one:
            assert await one.names() == ["slot_status", "deploy"]


async def test_without_a_core_everything_is_listed() -> None:
    async with assistant(listed=None) as one:
        assert len(await one.names()) == len(TOOLS)


async def test_every_unlisted_tool_is_found_by_its_name_and_title() -> None:
    async with assistant() as one:
        for tool in UNLISTED:
            for words in (tool.name, tool.name.replace("_", " ")):
                found = await one.ok("tool_find", words=words)
                assert tool.name in [each["name"] for each in found["tools"]], (words, found["tools"])
        first = (await one.ok("tool_find", words="port_list"))["tools"][0]
        assert first["name"] == "port_list" and first["door"] == "tool_read" and first["inputSchema"]["type"] == "object"
        deploy = (await one.ok("tool_find", words="deploy"))["tools"][0]["inputSchema"]
        assert {"timeout", "planId"} <= set(deploy["properties"]) and deploy["additionalProperties"] is False
        assert (await one.ok("tool_find", words="qqq"))["tools"] == []


async def test_finding_shows_nothing_that_the_key_may_not_use() -> None:
    async with begin("grace") as rig:
        key = await add_key(rig, role=Role.VIEWER)
        async with at(rig, rig.boot(), key) as one:
            found = await one.ok("tool_find", words="team delete token create server add")
            assert all(each["role"] == "viewer" for each in found["tools"])


async def test_a_tool_is_the_same_by_its_door_by_its_name_and_on_record() -> None:
    """P14: the record has the real name."""
    async with assistant() as one:
        by_door = await one.ok("tool_read", tool="port_list", arguments={})
        assert facts(by_door) == facts(await one.ok("port_list")) == facts(await one.process.ok("port_list"))
        made = await one.ok("tool_change", tool="token_create", arguments={"role": "viewer"})
        assert made["key"].startswith("codeb_")
        await one.process.audit.flush()
        rows = (await one.process.ok("audit_list", limit=9))["rows"]
        called = [row["tool"] for row in rows if row["entry"] == "mcp" and row["tool"] != "get_tools"]
        assert called[:3] == ["token_create", "port_list", "port_list"]


async def test_each_door_refuses_what_belongs_to_the_other() -> None:
    async with assistant("ready") as one:
        before = one.rig.print()
        words = await one.refused(
            "tool_read", "wrong_door", tool="promote", arguments={"projectName": "shop", "environment": "production"}
        )
        assert "tool_change" in words and one.rig.print() == before
        assert "tool_read" in await one.refused("tool_change", "wrong_door", tool="port_list")


@pytest.mark.parametrize(
    "said", [{}, {"tool": 1}, {"tool": "port_list", "arguments": []}, {"tool": "port_list", "args": {}}, {"tool": "port_lst"}]
)
async def test_a_door_takes_a_name_and_arguments(said: dict[str, object]) -> None:
    async with assistant() as one:
        words = await one.refused("tool_read", "invalid_params", **said)
        assert "nothing was done" in words
        assert "port_list" in words or said != {"tool": "port_lst"}


async def test_what_changes_something_is_held_to_the_same_rules_through_the_door() -> None:
    async with assistant() as one:
        words = await one.refused("tool_change", "invalid_params", tool="port_release", arguments={"projectName": "shop"})
        assert "environment: has to be said" in words
