"""A real Redis for tests: started in a folder of its own, always stopped."""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, ResponseError
from redis.exceptions import ConnectionError as NotThere
from redis.retry import Retry

from codeb.model.secret import Secret
from redis import Redis
from tests.ports import free_block

ADMIN = "user admin on >admin-word ~* &* +@all\n"
OPEN = "user default on nopass ~* &* +@all\n"
CLOSED = "user default off resetpass ~* &* +@all\n"


class RedisServer:
    """One server; `acl` is what its file of users begins with, None: it has no such file."""

    def __init__(self, folder: Path, port: int, acl: str | None, also: str = "") -> None:
        self.folder, self.port, self._child = folder, port, None
        self._bind = ["127.0.0.1", *([also] if also else [])]
        self._acl = [] if acl is None else ["--aclfile", str(folder / "users.acl")]
        if acl is not None:
            (folder / "users.acl").write_text(acl)

    _child: "subprocess.Popen[bytes] | None"

    @property
    def url(self) -> Secret:
        return Secret(f"redis://admin:admin-word@127.0.0.1:{self.port}")

    def client(self, user: str | None = "admin", word: str | None = "admin-word", db: int = 0) -> Any:
        return Redis(
            host="127.0.0.1", port=self.port, username=user, password=word, db=db, decode_responses=True, protocol=2,
            retry=Retry(NoBackoff(), 0),  # a refused password is refused at once
        )  # fmt: skip

    def start(self) -> None:
        words = ["redis-server", "--port", str(self.port), "--bind", *self._bind, "--dir", str(self.folder), "--save", ""]
        words += ["--appendonly", "yes", *self._acl]
        with (self.folder / "log").open("ab") as log:
            self._child = subprocess.Popen(words, stdout=log, stderr=log)
        for _ in range(300):
            try:
                self.client(None, None).ping()
            except (AuthenticationError, ResponseError):
                return
            except NotThere:
                time.sleep(0.02)
            else:
                return
        raise AssertionError((self.folder / "log").read_text())

    def kill(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            self._child = None


@contextmanager
def redis_server(acl: str | None = OPEN + ADMIN, also: str = "", port: int = 0) -> Iterator[RedisServer]:
    """`also`: one more address to listen at."""
    folder = Path(tempfile.mkdtemp(prefix="codebtest-redis-"))
    server = RedisServer(folder, port or free_block(1), acl, also)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server
