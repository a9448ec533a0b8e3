"""What every part of the server works with: the house, who calls, and the way in."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_REQUEST

from codeb.entry.mcp.caller import Caller
from codeb.gate.door import failed
from codeb.model.access import Actor
from codeb.wiring import House

Context = ServerRequestContext[Any, Any]


@dataclass(frozen=True)
class Surroundings:
    house: House
    caller: Callable[[Context], Caller]

    def enter(self, ctx: Context, what: str) -> Actor:
        """Who reads what is no tool's (`what`, for the record), one call less for them.

        Raises `MCPError` with the envelope of the refusal as its data.
        """
        entered = self.house.gate.enter(self.caller(ctx).asks(what))
        if entered.actor is None:
            fault = entered.fault
            assert fault is not None
            raise MCPError(INVALID_REQUEST, f"{fault.message} {fault.hint}".strip(), failed(fault))
        return entered.actor
