"""The real HTTP entry over a CodeB in memory, with the suite's catalogue in place of ours, and a key for who has none.

python -m tests.conformance.serve PORT
"""

import asyncio
import sys
import warnings
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from codeb.entry.http import Http, Rules
from codeb.entry.http.protocol import guarded
from codeb.entry.mcp import serving
from codeb.wiring import House
from tests.conformance import fixture
from tests.kit import OWNER, begin


def keyed(app: ASGIApp) -> ASGIApp:
    """The suite cannot send a key: a request without one gets the owner's."""

    async def called(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not any(name in (b"authorization", b"x-api-key") for name, _ in scope["headers"]):
            scope = {**scope, "headers": [*scope["headers"], (b"authorization", b"Bearer " + OWNER.reveal().encode())]}
        await app(scope, receive, send)

    return called


async def main(port: int) -> None:
    # the suite wants what the newest revision gives up
    warnings.simplefilter("ignore")
    serving.PARTS = (fixture.part,)
    async with begin("active") as rig:
        process = rig.boot()
        # pages of an origin that its owner named may call it: the suite says it is one
        http = Http(Rules(origins=frozenset({f"http://{host}:{port}" for host in ("127.0.0.1", "localhost")})))
        http.bind(House(process.kit, process.engine, process.gate, process.audit, Path("owner.key")))
        options: Any = uvicorn.Config(
            keyed(http.app()), host="127.0.0.1", port=port, http=guarded(http.raw), ws="none", lifespan="off",
            proxy_headers=False, access_log=False, log_level="warning", server_header=False, date_header=False,
        )  # fmt: skip
        await uvicorn.Server(options).serve()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
