"""Images of PostgreSQL and Redis from what Debian has on this machine, never pulled; used as those that their makers give out.

What counts of those is kept: POSTGRES_USER and POSTGRES_PASSWORD are read once, into an empty PGDATA, and nobody enters
without a password; each runs as a user of its own, in a folder of its own, and takes its command line.
"""

import hashlib
import io
import re
import subprocess
import tarfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from urllib.parse import quote

from codeb.drivers.runtime.docker_client import DockerClient, Refused, limit
from codeb.model.storage import Kind
from tests.images import BUSYBOX

LOADER = Path("/lib64/ld-linux-x86-64.so.2")
BEGIN = """#!/bin/sh
set -e
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  mkdir -p "$PGDATA"
  printf %s "$POSTGRES_PASSWORD" > /tmp/word
  initdb -D "$PGDATA" -U "$POSTGRES_USER" --pwfile=/tmp/word -A scram-sha-256 -N -E UTF8 --locale=C
  rm /tmp/word
  echo 'host all all all scram-sha-256' >> "$PGDATA/pg_hba.conf"
fi
exec postgres -D "$PGDATA" -c 'listen_addresses=*' -c fsync=off -c unix_socket_directories=/tmp "$@"
"""
USER = 70
FOLDERS = {Kind.POSTGRES: "var/lib/postgresql/data", Kind.REDIS: "data"}


def _postgres() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*"), key=lambda path: int(path.name))
    return found[-1]


def _programs(kind: Kind) -> list[Path]:
    """What runs, with everything it loads by itself."""
    if kind is Kind.REDIS:
        return [Path("/usr/bin/redis-server").resolve()]
    home = _postgres()
    return [home / "bin/postgres", home / "bin/initdb", home / "lib/plpgsql.so", home / "lib/dict_snowball.so"]


def _libraries(programs: Iterable[Path]) -> set[Path]:
    said = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=True).stdout
    return {Path(each) for each in re.findall(r"=> (/[^ ]+)", said)} | {LOADER}


def _files(kind: Kind) -> dict[str, Path]:
    programs = _programs(kind)
    found = {str(path)[1:]: path for path in (*programs, *_libraries(programs))}
    if kind is Kind.REDIS:
        return found | {"usr/bin/redis-server": programs[0]}
    share = Path("/usr/share/postgresql") / _postgres().name
    return found | {str(path)[1:]: path for path in share.rglob("*") if path.is_file()}


def _add(tar: tarfile.TarFile, name: str, content: bytes, mode: int = 0o755) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), mode
    tar.addfile(info, io.BytesIO(content))


def _rootfs(kind: Kind) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for folder, mode, owner in (("tmp", 0o1777, 0), (FOLDERS[kind], 0o700, USER)):
            info = tarfile.TarInfo(folder)
            info.type, info.mode, info.uid, info.gid = tarfile.DIRTYPE, mode, owner, owner
            tar.addfile(info)
        _add(tar, "bin/busybox", BUSYBOX.read_bytes())
        for name in ("sh", "mkdir", "rm", "cat", "sleep"):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        _add(tar, "etc/passwd", f"root:x:0:0::/:/bin/sh\nstorage:x:{USER}:{USER}::/tmp:/bin/sh\n".encode(), 0o644)
        _add(tar, "begin", BEGIN.encode())
        for name, path in sorted(_files(kind).items()):
            _add(tar, name, path.read_bytes(), 0o755 if path.suffix != ".sql" else 0o644)
    return buffer.getvalue()


def _changes(kind: Kind) -> list[str]:
    home = _postgres()
    if kind is Kind.REDIS:
        return [f"USER {USER}", "WORKDIR /data", 'CMD ["redis-server"]']
    return [f"USER {USER}", f"ENV PATH={home}/bin:/bin", 'ENTRYPOINT ["/begin"]']


@cache
def _made(kind: Kind) -> tuple[str, bytes]:
    content = _rootfs(kind)
    seed = hashlib.sha256(content + "".join(_changes(kind)).encode()).hexdigest()
    return f"codebtest-{kind.value}:{seed[:10]}", content


async def storage_image(client: DockerClient, kind: Kind) -> str:
    """Its reference; imported on first use, and left for the next run. The tag changes with the content."""
    reference, content = _made(kind)
    try:
        await client.call("GET", f"images/{reference}/json")
        return reference
    except Refused as refused:
        if refused.status != 404:
            raise
    repository, _, tag = reference.partition(":")
    query = "&".join(f"changes={quote(change, safe='')}" for change in _changes(kind))
    path = f"images/create?fromSrc=-&repo={repository}&tag={tag}&{query}"
    headers = {"Content-Type": "application/x-tar"}
    async with client.stream("POST", path, data=io.BytesIO(content), headers=headers, allowed=limit(120)) as response:
        said = (await response.read()).decode()
    if "sha256:" not in said:
        raise AssertionError(f"the import of {reference} said: {said}")
    return reference
