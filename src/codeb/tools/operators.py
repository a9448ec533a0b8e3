"""What only those may do who run this installation: its machines and their firewalls are everybody's."""

from codeb.tools.call import Call
from codeb.tools.people import known, operates, operating


def is_operator(call: Call) -> bool:
    """Whether a key that is narrowed to nothing, of the team that runs this installation, calls."""
    return call.actor.whole and operates(known(call), call.actor)


def only_operators(call: Call, what: str) -> None:
    """Raises `Forbidden` for a narrowed key, and for every team but the one that runs this installation."""
    operating(known(call), call.actor, what)
