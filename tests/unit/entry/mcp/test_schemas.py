"""What a client is told of each tool: short, honest, and true of every answer."""

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from codeb.entry.mcp import core, schemas
from codeb.entry.mcp.listing import annotations
from codeb.errors import NotFound
from codeb.gate.door import failed
from codeb.tools.catalog import BY_NAME, TOOLS
from codeb.tools.tool import Accepted, Outcome, Plan, Risk, Tool
from tests.assistant import OF_THE_MOMENT

LATER = {"duration": 1.5, "timestamp": "2026-11-26T00:00:00+00:00", "correlationId": "c"}


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_a_schema_names_every_field_but_the_hidden_and_holds_no_noise(tool: Tool[Any]) -> None:
    said = schemas.said(tool)
    known = {field.alias or name for name, field in tool.params.model_fields.items()}
    assert set(said["properties"]) <= known and known - set(said["properties"]) <= schemas.HIDDEN
    noise = [f'"{word}": "' for word in ("title", "pattern", "$ref", "default", "description")]
    assert not [word for word in noise if word in json.dumps(said)]
    Draft202012Validator.check_schema(said)
    if tool.changes and "environment" in known:
        assert "environment" in said["required"]


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_one_shape_holds_for_refusals_and_for_plans(tool: Tool[Any]) -> None:
    """Clients judge failures by it too."""
    shape = Draft202012Validator(schemas.answered(tool))
    Draft202012Validator.check_schema(shape.schema)
    shape.validate(failed(NotFound("No.", details={"next": [{"odd": 1}]})) | LATER)
    if tool.changes:
        shape.validate({"success": True, **Outcome(Plan(plan_id="p", plan={}, changes=[]), "Would.").wire} | LATER)
    if tool.long:
        shape.validate({"success": True, **Outcome(Accepted(operation_id="op", state="running"), "Runs.").wire} | LATER)
    assert (
        not shape.is_valid({"success": True, "summary": "x", "next": [], "warnings": [], "odd": 1} | LATER)
        or not tool.result.model_fields
    )
    assert set(LATER) == set(OF_THE_MOMENT)


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_hints_say_what_the_tool_is(tool: Tool[Any]) -> None:
    hints = annotations(tool)
    assert hints.read_only_hint == (tool.risk is Risk.READS) and hints.destructive_hint == (tool.risk is Risk.DESTROYS)
    assert hints.idempotent_hint == hints.read_only_hint and hints.open_world_hint is (tool.family in ("pr", "git", "domain"))


def test_no_tool_is_listed_twice() -> None:
    assert len(set(core.CORE)) == len(core.CORE)
    assert {"deploy", "promote", "rollback", "project_delete"} <= set(core.CORE) & set(BY_NAME)
