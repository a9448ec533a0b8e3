"""Tiny images for tests against a real Docker: Debian's static busybox, imported through the Engine API, never pulled.

They stay for the next run: together 2 MB, as they share one layer.
"""

import hashlib
import io
import json
import subprocess
import tarfile
from pathlib import Path
from urllib.parse import quote

from codeb.drivers.runtime.docker_client import DockerClient, Refused, limit

REPOSITORY = "codebtest-busybox"
BUSYBOX = Path("/bin/busybox")

STEADY = "trap 'echo bye; exit 0' TERM; echo hello; echo oops >&2; while :; do sleep 60 & wait $!; done"
FACTS = (
    "cat /proc/self/status; cp /bin/busybox /tmp/echo && /tmp/echo ran-from-tmp; echo tmp=$?; "
    "printf '%s' \"$MARK\" | sha256sum; cat /proc/mounts; exec sleep 60"
)
LONG = "head -c 40000 /dev/zero | tr '\\0' x; echo; echo end; exec sleep 60"


def _shell(script: str) -> list[str]:
    return ["CMD " + json.dumps(["/bin/sh", "-c", script])]


def _checked(result: str) -> list[str]:
    probe = json.dumps([f"/bin/{result}"])
    return [f"HEALTHCHECK --interval=200ms --timeout=5s --retries=1 CMD {probe}", *_shell(STEADY)]


KINDS: dict[str, list[str]] = {
    "steady": _shell(STEADY),
    "exits": _shell("echo leaving; exit 3"),
    "stubborn": _shell("trap '' TERM; echo deaf; while :; do sleep 1; done"),
    "facts": _shell(FACTS),
    "long": _shell(LONG),
    "web": _shell("mkdir -p /www; echo ok > /www/index.html; exec httpd -f -p 3000 -h /www"),
    "sick": _checked("false"),
    "well": _checked("true"),
    "lost": ['CMD ["/bin/there-is-no-such-program"]'],
    "broken": ["USER nobody-of-that-name", *_shell(STEADY)],
}


def rootfs() -> bytes:
    """A tar of the file system: busybox under all its names, and the folders a shell expects."""
    names = subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True).stdout.split()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for folder in ("bin", "etc", "tmp"):
            info = tarfile.TarInfo(folder)
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(info)
        program = tarfile.TarInfo("bin/busybox")
        program.size, program.mode = BUSYBOX.stat().st_size, 0o755
        with BUSYBOX.open("rb") as file:
            tar.addfile(program, file)
        for name in names:
            if name != "busybox":
                link = tarfile.TarInfo(f"bin/{name}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(link)
    return buffer.getvalue()


def tag_of(kind: str) -> str:
    """The tag changes with the content, so that an old image is never taken for a new one."""
    seed = json.dumps(KINDS[kind]).encode() + str(BUSYBOX.stat().st_size).encode()
    return f"{kind}-{hashlib.sha256(seed).hexdigest()[:8]}"


async def image_id(client: DockerClient, kind: str) -> str:
    """The id of the image of this kind; imported on first use."""
    reference = f"{REPOSITORY}:{tag_of(kind)}"
    try:
        return str((await client.call("GET", f"images/{reference}/json"))["Id"])
    except Refused as refused:
        if refused.status != 404:
            raise
    query = "&".join(f"changes={quote(change, safe='')}" for change in KINDS[kind])
    path = f"images/create?fromSrc=-&repo={REPOSITORY}&tag={tag_of(kind)}&{query}"
    headers = {"Content-Type": "application/x-tar"}
    async with client.stream("POST", path, data=io.BytesIO(rootfs()), headers=headers, allowed=limit(60)) as response:
        said = (await response.read()).decode()
    if "sha256:" not in said:
        raise AssertionError(f"the import of {reference} said: {said}")
    return str((await client.call("GET", f"images/{reference}/json"))["Id"])
