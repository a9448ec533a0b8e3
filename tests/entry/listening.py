"""The assistants' server with one thing more: a stream that never ends by itself."""

import asyncio
from typing import Any

from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp_types import SubscriptionsListenRequestParams

from codeb.entry.mcp.server import build
from codeb.wiring import House

BEGAN = asyncio.Event()


def manager(house: House) -> StreamableHTTPSessionManager:
    async def listen(ctx: Any, params: Any) -> Any:
        await ctx.session.send_tool_list_changed()
        BEGAN.set()
        await asyncio.Event().wait()

    def listens(server: Any, around: Any, calls: Any) -> None:
        server.add_request_handler("subscriptions/listen", SubscriptionsListenRequestParams, listen)

    return StreamableHTTPSessionManager(build(house, parts=[listens]), stateless=True)
