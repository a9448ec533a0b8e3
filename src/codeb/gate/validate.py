"""From a caller's words to params: every fault at once, by field, nothing coerced, nothing ignored."""

from collections.abc import Collection, Mapping
from itertools import islice
from typing import Any, TypeVar

from pydantic import ValidationError

from codeb.errors import InvalidParams
from codeb.model.access import holds_key
from codeb.model.names import closest
from codeb.tools.fields import Params

P = TypeVar("P", bound=Params)

MOST_SHOWN = 20
MOST_LOOKED_AT = 100
"""more fields than any tool has; a body has room for 100,000"""


def wire_names(model: type[Params]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def validate(model: type[P], params: Any, must_say: Collection[str] = ()) -> P:
    """Raises `InvalidParams` with `details.fields`: `{field, problem, near?}` each. What `must_say` names may not be left to
    its default."""
    if not isinstance(params, dict):
        raise InvalidParams("params has to be a JSON object; nothing was done.", code="malformed")
    faults = [] if not must_say else _unsaid(model, params, must_say)
    number = len(faults)
    try:
        found = model.model_validate(dict(islice(params.items(), MOST_LOOKED_AT)), by_alias=True, by_name=False)
    except ValidationError as fault:
        errors = fault.errors(include_url=False, include_input=False)
        number += len(errors)
        faults += [_fault(model, error) for error in errors[:MOST_SHOWN]]
    else:
        if not faults:
            return found
    words = "; ".join(f"{each['field']}: {each['problem']}" for each in faults[:5])
    raise InvalidParams(
        f"{number} field{'' if number == 1 else 's'} cannot be taken ({words}); nothing was done.",
        hint=f"Known fields: {', '.join(wire_names(model)) or 'none'}.",
        details={"fields": faults},
    )


def _unsaid(model: type[Params], params: dict[str, Any], must_say: Collection[str]) -> list[dict[str, Any]]:
    left = [(field.alias or name) for name, field in model.model_fields.items() if name in must_say and not field.is_required()]
    return [{"field": name, "problem": "has to be said, since this changes it"} for name in left if name not in params]


def refuse_keys(said: Mapping[str, Any]) -> None:
    """What changes something keeps what it was told: an API key in it would be on record. Raises `InvalidParams`."""
    found = [name for name, value in said.items() if holds_key(value)]
    if found:
        raise InvalidParams(
            f"{', '.join(found)}: there is an API key in it, which would be kept on record; nothing was done.",
            code="key_in_params",
            hint="A key goes into X-API-Key alone. If others may have seen it, replace it.",
            details={"fields": [{"field": name, "problem": "holds an API key"} for name in found]},
        )


def _fault(model: type[Params], error: Any) -> dict[str, Any]:
    where = ".".join(str(part)[:64] for part in error["loc"]) or "params"
    if error["type"] == "extra_forbidden":
        name = str(error["loc"][-1])[:64]
        near = closest(name, wire_names(model), 1)
        found = {"field": where, "problem": "is not known here" + (f", did you mean {near[0]}?" if near else "")}
        return found | ({"near": near[0]} if near else {})
    problem = str(error["msg"]).removeprefix("Value error, ")
    return {"field": where, "problem": problem[:1].lower() + problem[1:]}
