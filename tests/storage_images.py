"""Images of PostgreSQL and Redis from what Debian has on this machine, never pulled; used as those that their makers give out.
And one of a small shop, which speaks to both with their own clients: a visit is a row, and a number that grows.

What counts of those is kept: POSTGRES_USER and POSTGRES_PASSWORD are read once, into an empty PGDATA, and nobody enters
without a password; each runs as a user of its own, in a folder of its own, and takes its command line.
"""

import hashlib
import io
import re
import subprocess
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import quote

from codeb.drivers.runtime.docker_client import DockerClient, Refused, limit
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
SHOP = """#!/bin/sh
echo "Content-Type: text/plain"; echo
export PGOPTIONS="-c client_min_messages=warning"
psql "$DATABASE_URL" -qAt -v ON_ERROR_STOP=1 -c 'CREATE TABLE IF NOT EXISTS visits (at timestamptz)' \\
  -c 'INSERT INTO visits VALUES (now())' -c 'SELECT count(*) FROM visits' 2>&1
redis-cli -u "$REDIS_URL" --no-auth-warning incr "${REDIS_PREFIX}visits" 2>&1
"""
USER = 70
APPLETS = ("sh", "mkdir", "rm", "cat", "sleep", "httpd")


@dataclass(frozen=True)
class Recipe:
    """`programs` come with what they load by themselves; `folder` is the image's user's; `texts` by path."""

    programs: tuple[Path, ...]
    folder: str
    changes: tuple[str, ...]
    more: tuple[Path, ...] = ()
    texts: tuple[tuple[str, str], ...] = ()


def _postgres() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*"), key=lambda path: int(path.name))
    return found[-1]


@cache
def _recipe(name: str) -> Recipe:
    home = _postgres()
    if name == "redis":
        changes = (f"USER {USER}", "WORKDIR /data", 'CMD ["redis-server"]')
        return Recipe((Path("/usr/bin/redis-server"),), "data", changes)
    if name == "shop":
        clients = (home / "bin/psql", Path("/usr/bin/redis-cli"))
        pages = (("www/index.html", "a shop"), ("www/cgi-bin/visit", SHOP))
        start = 'CMD ["httpd", "-f", "-p", "3000", "-h", "/www"]'
        return Recipe(clients, "home", (f"ENV PATH={home}/bin:/usr/bin:/bin", start), texts=pages)
    share = Path("/usr/share/postgresql") / home.name
    return Recipe(
        (home / "bin/postgres", home / "bin/initdb", home / "lib/plpgsql.so", home / "lib/dict_snowball.so"),
        "var/lib/postgresql/data", (f"USER {USER}", f"ENV PATH={home}/bin:/bin", 'ENTRYPOINT ["/begin"]'),
        tuple(path for path in share.rglob("*") if path.is_file()), (("begin", BEGIN),),
    )  # fmt: skip


def _libraries(programs: Iterable[Path]) -> set[Path]:
    said = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=True).stdout
    return {Path(each) for each in re.findall(r"=> (/[^ ]+)", said)} | {LOADER}


def _add(tar: tarfile.TarFile, name: str, content: bytes, mode: int = 0o755) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), mode
    tar.addfile(info, io.BytesIO(content))


def _rootfs(recipe: Recipe) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for folder, mode, owner in (("tmp", 0o1777, 0), (recipe.folder, 0o700, USER)):
            info = tarfile.TarInfo(folder)
            info.type, info.mode, info.uid, info.gid = tarfile.DIRTYPE, mode, owner, owner
            tar.addfile(info)
        _add(tar, "bin/busybox", BUSYBOX.read_bytes())
        for name in APPLETS:
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        _add(tar, "etc/passwd", f"root:x:0:0::/:/bin/sh\nstorage:x:{USER}:{USER}::/tmp:/bin/sh\n".encode(), 0o644)
        for name, text in recipe.texts:
            _add(tar, name, text.encode())
        for path in sorted({*recipe.programs, *_libraries(recipe.programs), *recipe.more}):
            _add(tar, str(path)[1:], path.read_bytes())
    return buffer.getvalue()


@cache
def _made(name: str) -> tuple[str, bytes]:
    recipe = _recipe(name)
    content = _rootfs(recipe)
    seed = hashlib.sha256(content + "".join(recipe.changes).encode()).hexdigest()
    return f"codebtest-{name}:{seed[:10]}", content


async def storage_image(client: DockerClient, name: str) -> str:
    """The reference of `postgres`, `redis` or `shop`; imported on first use, and left for the next run. The tag changes with
    the content."""
    reference, content = _made(name)
    try:
        await client.call("GET", f"images/{reference}/json")
        return reference
    except Refused as refused:
        if refused.status != 404:
            raise
    repository, _, tag = reference.partition(":")
    query = "&".join(f"changes={quote(change, safe='')}" for change in _recipe(name).changes)
    path = f"images/create?fromSrc=-&repo={repository}&tag={tag}&{query}"
    headers = {"Content-Type": "application/x-tar"}
    async with client.stream("POST", path, data=io.BytesIO(content), headers=headers, allowed=limit(120)) as response:
        said = (await response.read()).decode()
    if "sha256:" not in said:
        raise AssertionError(f"the import of {reference} said: {said}")
    return reference
