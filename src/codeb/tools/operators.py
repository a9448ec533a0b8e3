"""What only those may do who run this installation: its machines and their firewalls are everybody's."""

from codeb.errors import Forbidden
from codeb.tools.audit import operators
from codeb.tools.call import Call
from codeb.tools.people import whole


def is_operator(call: Call) -> bool:
    """Whether a key that is narrowed to nothing of the team that runs this installation calls."""
    return call.actor.whole and call.actor.team == operators(call)


def only_operators(call: Call, what: str) -> None:
    """Raises `Forbidden`: `forbidden` for a narrowed key, `not_operators` for another team."""
    whole(call.actor, what)
    if not is_operator(call):
        raise Forbidden(
            f"{what[:1].upper()}{what[1:]} is for the team that runs this installation; nothing was done.", code="not_operators",
            hint="Ask somebody of that team.",
        )  # fmt: skip
