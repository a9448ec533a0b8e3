"""The server over HTTP: both revisions of the protocol at one path, without sessions."""

from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

from codeb.entry.mcp import durable, prompts, resources
from codeb.entry.mcp.server import Part, build
from codeb.wiring import House

PARTS: tuple[Part, ...] = (durable.part, resources.part, prompts.part)
"""what the server does beside tools"""
MOST_BYTES = 4 * 2**20


def manager(house: House) -> StreamableHTTPSessionManager:
    """Host and Origin are looked at before, for every path."""
    return StreamableHTTPSessionManager(build(house, parts=PARTS), stateless=True, max_request_body_size=MOST_BYTES)
