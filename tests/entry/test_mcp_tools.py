"""Every tool as assistants meet it: mistyped, incomplete, and in a list that has to stay short."""

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from codeb.entry.mcp import schemas
from codeb.entry.mcp.listing import PREFIX, characters
from codeb.gate.validate import validate
from codeb.model.access import Role
from codeb.tools.catalog import BY_NAME, TOOLS
from tests.assistant import assistant, at, text
from tests.kit import add_key, begin
from tests.rights import EXAMPLES

pytestmark = pytest.mark.anyio

MOST = {Role.OWNER: 16_000, Role.VIEWER: 6_000}
"""characters of everything a model is sent of the list"""
CHANGING = [tool for tool in TOOLS if tool.changes]


@pytest.mark.parametrize("role", MOST)
async def test_the_whole_list_is_short(role: Role) -> None:
    async with begin("new") as rig:
        key = await add_key(rig, role=role)
        async with at(rig, rig.boot(), key) as one:
            tools = (await one.client.list_tools()).tools
            sizes = {tool.name: characters(tool) for tool in tools}
            assert sum(sizes.values()) <= MOST[role], sorted(sizes.items(), key=lambda each: -each[1])[:10]
            assert max(sizes.values()) <= 800 and all(len(tool.description or "") <= 200 for tool in tools)
            assert all(len(PREFIX + tool.name) <= 64 for tool in tools)


async def test_a_mistyped_argument_and_a_missing_environment_are_refused_on_every_changing_tool() -> None:
    """Both at once, and nothing is done."""
    async with assistant("grace") as one:
        before = one.rig.print()
        for tool in CHANGING:
            said = {**EXAMPLES.get(tool.name, {}), "evnironment": "staging"}
            said.pop("environment", None)
            words = await one.refused(tool.name, "invalid_params", **said)
            assert "evnironment: is not known here" in words and "Known fields:" in words, (tool.name, words)
            if "environment" in tool.params.model_fields:
                assert "environment: has to be said" in words or "environment: field required" in words, (tool.name, words)
        assert one.rig.print() == before


async def test_every_answer_is_of_its_shape_and_what_is_done_next_is_a_valid_call() -> None:
    """The client judges the data of every tool it was shown; dry runs, reads and refusals are tried."""
    async with assistant("grace", listed=None) as one:
        for tool in TOOLS:
            if tool.name in ("keys_rotate", "team_delete", "project_delete"):
                continue
            said = {**EXAMPLES.get(tool.name, {})}
            for name in tool.must_say:
                said.setdefault(name, "staging")
            if tool.changes:
                said["dryRun"] = True
            answer = await one.call(tool.name, **said)
            for line in text(answer).split("\n"):
                if line.startswith("Next: "):
                    name, _, rest = line.removeprefix("Next: ").partition("(")
                    _is_valid(name, json.JSONDecoder().raw_decode(rest)[0])
            for each in answer.structured_content["next"]:
                _is_valid(each["tool"], each["params"])


def _is_valid(name: str, params: dict[str, Any]) -> None:
    tool = BY_NAME[name]
    validate(tool.params, params, tool.must_say)


def test_what_is_listed_can_be_said() -> None:
    """Every example of a call is of the listed shape."""
    for tool in TOOLS:
        said = {**EXAMPLES.get(tool.name, {})}
        for name in tool.must_say:
            said.setdefault(name, "staging")
        Draft202012Validator(schemas.said(tool)).validate(said)
