"""A real CodeB server for a test: its own home, ports, Caddy and containers, started as a process and always cleaned up."""

import random
import shutil
import tempfile
from pathlib import Path

from demo.server import Failed, LocalServer

from tests.ports import free_block

__all__ = ["Failed", "Stage"]


class Stage(LocalServer):
    """`start`, `kill`, `stop` the server; `call` its tools; `close` leaves nothing behind.

    `project` is a name no other test uses; `pairs` how many environments each range has room for. Settings are CODEB_*
    variables without the prefix.
    """

    def __init__(self, pairs: int = 4, **settings: str) -> None:
        block = free_block(4 + 2 * pairs * 3)
        spans = [block + 4 + index * 2 * pairs for index in range(3)]
        own = {
            "PORT": str(block), "HTTP_PORT": str(block + 1), "HTTPS_PORT": str(block + 2), "CADDY_BIND": "127.0.0.1",
            "RATE_LIMIT": "off", "AUTH_FAILURES": "off",
            **{
                f"PORTS_{name}": f"{first}-{first + 2 * pairs - 1}"
                for name, first in zip(("PRODUCTION", "STAGING", "PREVIEW"), spans, strict=True)
            },
        }  # fmt: skip
        super().__init__(Path(tempfile.mkdtemp(prefix="codebtest-")), {**own, **settings})
        self.project = f"codebtest-{random.randrange(16**6):06x}"
        self.database = ""
        """where the registry is read by a judge; empty: the SQLite file in the home"""

    def __enter__(self) -> "Stage":
        self.start()
        assert self.process is not None
        if self.process.poll() is not None:
            log = self.log
            self.close()
            raise AssertionError(f"the server died at its start:\n{log[-3000:]}")
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.kill()
        self.remove_containers()
        self.stop_proxy()
        shutil.rmtree(self.home, ignore_errors=True)
