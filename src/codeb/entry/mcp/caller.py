"""Who speaks to the server in one request: every one brings its own key, there are no sessions."""

from dataclasses import dataclass, field
from typing import Any

from codeb.gate import Asked
from codeb.model.secret import Secret

ENTRY = "mcp"
SCOPE = "codeb.caller"
"""where the HTTP entry puts the caller of a request"""


@dataclass(frozen=True)
class Caller:
    token: Secret | None
    ip: str | None
    correlation_id: str
    asked: list[str] = field(default_factory=list, compare=False)
    """what came to the gate of this request: what did not is counted by whoever let it in"""

    def asks(self, tool: str, params: Any = None, **more: Any) -> Asked:
        """A call in the gate's words. An assistant leaves nothing that matters to a default."""
        self.asked.append(tool)
        return Asked(tool, params, self.token, ENTRY, self.correlation_id, self.ip, explicit=True, **more)


def of_request(ctx: Any) -> Caller:
    """As the HTTP entry knows them; `ctx` is the protocol library's."""
    caller = ctx.request.scope[SCOPE]
    assert isinstance(caller, Caller)
    return caller
