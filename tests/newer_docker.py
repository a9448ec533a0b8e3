"""A Docker of a newer Debian beside this machine's own: with buildx, and able to keep a build's cache in an image registry.

Root only. Its Debian is made by mmdebstrap (half a minute, 550 MB) and kept in `.test-run/`. The daemon has networks, processes
and mounts of its own, so nothing of this machine's Docker is touched, and with its first process everything of it ends.
"""

import contextlib
import fcntl
import json
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.contracts.netns import entered, inside, ip
from tests.nodes import pass_on, without_groups

DEBIAN, PACKAGES = "trixie", "docker.io,docker-buildx,ca-certificates,iptables"
KEPT = Path(os.environ.get("CODEB_TEST_DEBIAN", ".test-run/trixie"))
PLUGIN = "usr/libexec/docker/cli-plugins/docker-buildx"
UP_SECONDS = 60.0
# pivot_root, not chroot: what a container is given would be looked for on the wrong disk otherwise
BOOT = """set -e
mount --bind {root} {root}
mkdir -p {root}{folder}
mount --bind {folder} {root}{folder}
mount -t proc proc {root}/proc
mount --rbind /sys {root}/sys
mount --rbind /dev {root}/dev
mount -t tmpfs tmpfs {root}/run
mkdir -p {root}/.before
cd {root}
pivot_root . .before
umount -l /.before
exec /usr/sbin/dockerd --config-file {folder}/daemon.json
"""


def debian() -> Path:
    """The root of a newer Debian that has Docker in it; made once."""
    KEPT.parent.mkdir(parents=True, exist_ok=True)
    with KEPT.with_name(f"{KEPT.name}.lock").open("a") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if not KEPT.exists():
            made = KEPT.with_name(f"{KEPT.name}.partial")
            shutil.rmtree(made, ignore_errors=True)
            words = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={PACKAGES}", DEBIAN, str(made)]
            subprocess.run(words, check=True, timeout=900)
            made.rename(KEPT)
    return KEPT.resolve()


class NewerDocker:
    """`socket` is where it listens; its loopback reaches those ports of ours that it was given."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="codebtest-"))
        self.space, self.root = self.folder.name, debian()
        self._doors: list[socket.socket] = []
        self._daemon: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> str:
        return f"unix://{self.folder}/docker.sock"

    def environment(self, home: Path) -> dict[str, str]:
        """Of a person at this machine who has buildx and works with this Docker."""
        plugins = home / ".docker/cli-plugins"
        plugins.mkdir(parents=True, exist_ok=True)
        shutil.copy(self.root / PLUGIN, plugins)
        return {"HOME": str(home), "DOCKER_HOST": self.socket}

    def start(self) -> None:
        settings = {
            "data-root": f"{self.folder}/lib", "exec-root": f"{self.folder}/run", "pidfile": f"{self.folder}/docker.pid",
            "hosts": [self.socket], "cgroup-parent": f"/{self.space}-docker", "bip": "10.236.0.1/24",
            "features": {"containerd-snapshotter": True},
        }  # fmt: skip
        (self.folder / "daemon.json").write_text(json.dumps(settings))
        (self.folder / "boot").write_text(BOOT.format(root=self.root, folder=self.folder))
        ip("netns", "add", self.space)
        ip("-n", self.space, "link", "set", "lo", "up")
        inside(self.space, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        words = ["nsenter", f"--net=/run/netns/{self.space}", "unshare", "--mount", "--pid", "--uts", "--fork", "--kill-child"]
        with (self.folder / "log").open("wb") as log:
            self._daemon = subprocess.Popen(
                [*words, "--mount-proc", "--propagation", "private", "sh", f"{self.folder}/boot"], stdout=log, stderr=log
            )
        end = time.monotonic() + UP_SECONDS
        while subprocess.run(["docker", "-H", self.socket, "version"], capture_output=True, check=False).returncode:
            if self._daemon.poll() is not None or time.monotonic() > end:
                raise AssertionError((self.folder / "log").read_text()[-3000:])
            time.sleep(0.2)

    def reach(self, port: int) -> None:
        """From now on this port of its loopback is that of ours."""
        with entered(self.space):
            door = socket.create_server(("127.0.0.1", port))
        self._doors.append(door)
        threading.Thread(target=_serve, args=(door, port), daemon=True).start()

    def docker(self, *words: str) -> str:
        said = subprocess.run(["docker", "-H", self.socket, *words], check=True, capture_output=True, text=True, timeout=120)
        return said.stdout

    def forget(self) -> None:
        """No image and no layer of a build is left."""
        for image in set(self.docker("images", "-aq").split()):
            self.docker("rmi", "-f", image)
        self.docker("builder", "prune", "-af")

    def close(self) -> None:
        for door in self._doors:
            with contextlib.suppress(OSError):
                door.shutdown(socket.SHUT_RDWR)
            door.close()
        if self._daemon is not None:
            self._daemon.kill()
            self._daemon.wait()
        subprocess.run(["ip", "netns", "del", self.space], capture_output=True, check=False)
        without_groups(self.space)
        shutil.rmtree(self.folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            (self.root / str(self.folder).lstrip("/")).rmdir()


def _serve(door: socket.socket, port: int) -> None:
    """Until it is shut."""
    while True:
        try:
            near, _ = door.accept()
        except OSError:
            return
        threading.Thread(target=_carry, args=(near, port), daemon=True).start()


def _carry(near: socket.socket, port: int) -> None:
    with near, contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 10) as far:
        far.settimeout(None)
        back = threading.Thread(target=pass_on, args=(far, near), daemon=True)
        back.start()
        pass_on(near, far)
        back.join()


@contextmanager
def newer_docker() -> Iterator[NewerDocker]:
    """Up, and gone afterwards with everything in it; its Debian is kept."""
    made = NewerDocker()
    try:
        made.start()
        yield made
    finally:
        made.close()
