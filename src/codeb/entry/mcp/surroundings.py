"""What every part of the server works with: the house, who calls, and the way in."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_REQUEST

from codeb.entry.mcp.caller import Caller
from codeb.errors import PublicError
from codeb.gate import Answer
from codeb.gate.door import failed
from codeb.model.access import Actor
from codeb.tools.tool import Tool
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

    def actor(self, caller: Caller) -> Actor | None:
        """Who that is, uncounted: for what is said beside an answer that the gate gave."""
        try:
            return self.house.gate.entrance.know(caller.token, caller.ip)
        except PublicError:
            return None

    def offered(self, caller: Caller) -> dict[str, Tool[Any]]:
        """The tools that somebody may use, by name."""
        actor = self.actor(caller)
        return {} if actor is None else {tool.name: tool for tool in self.house.gate.offered(actor)}

    def refused(self, caller: Caller, tool: str, fault: PublicError) -> Answer:
        """The answer to what never came to the gate, on record and counted as if it had."""
        self.house.gate.refused(caller.asks(tool), fault.status, fault.code, fault.message)
        return Answer(fault.status, self.dressed(caller, failed(fault)))

    def dressed(self, caller: Caller, body: dict[str, Any]) -> dict[str, Any]:
        """With what every answer says of itself."""
        at = self.house.kit.world.now().isoformat()
        return {**body, "duration": 0.0, "timestamp": at, "correlationId": caller.correlation_id}
