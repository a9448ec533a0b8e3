"""What of a caller's words is looked at, and by which names (S4, S33)."""

import pytest

from codeb.errors import InvalidParams
from codeb.gate.validate import MOST_LOOKED_AT, MOST_SHOWN, validate
from codeb.tools.catalog import BY_NAME

SHOWN = BY_NAME["project_get"].params


def test_a_field_has_one_name_on_the_wire() -> None:
    assert validate(SHOWN, {"projectName": "shop"}).model_dump() == {"project_name": "shop"}
    with pytest.raises(InvalidParams) as refused:
        validate(SHOWN, {"project_name": "shop"})
    faults = refused.value.details["fields"]
    assert {each["field"]: each.get("near") for each in faults} == {"projectName": None, "project_name": "projectName"}


def test_a_body_of_a_hundred_thousand_fields_is_looked_at_as_far_as_a_tool_can_have_them() -> None:
    with pytest.raises(InvalidParams) as refused:
        validate(SHOWN, {"projectName": "shop"} | {f"x{number}": 1 for number in range(5 * MOST_LOOKED_AT)})
    assert refused.value.message.startswith(f"{MOST_LOOKED_AT - 1} fields cannot be taken")
    assert len(refused.value.details["fields"]) == MOST_SHOWN
