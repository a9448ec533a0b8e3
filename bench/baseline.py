"""Bare Starlette under the same server: the yardstick for what a call of CodeB costs."""

import json
import sys

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


async def answer(request: Request) -> Response:
    body = json.loads(await request.body())
    text = json.dumps({"success": True, "tool": body["tool"], "params": body["params"]}).encode()
    return Response(text, media_type="application/json")


def main() -> None:
    app = Starlette(routes=[Route("/api/tool", answer, methods=["POST"]), Route("/health", answer, methods=["POST"])])
    uvicorn.run(
        app, host="127.0.0.1", port=int(sys.argv[1]), loop="uvloop", http="httptools", access_log=False, log_config=None,
        server_header=False, date_header=False,
    )  # fmt: skip


if __name__ == "__main__":
    main()
