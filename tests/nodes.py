"""Four machines on this one: app, storage, dns, backup. Each is a network of its own; the first two have a Docker of their own.

Root only. A node is a network namespace on a wire that lives in a namespace too, so nothing of this machine's own network is
touched. Its Docker lives in namespaces of processes and mounts as well: with its first process everything of it ends.
"""

import contextlib
import itertools
import json
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.contracts.netns import entered, inside, ip

COUNT = itertools.count()
NET = "203.0.113"
NAMES = ("app", "storage", "dns", "backup")
WITH_DOCKER = ("app", "storage")
DOCKER_PORT = 2375
UP_SECONDS = 30.0


@dataclass
class Node:
    """`space` is its network namespace, `address` where the others reach it."""

    name: str
    space: str
    address: str
    folder: Path
    daemon: "subprocess.Popen[bytes] | None" = None

    @property
    def engine(self) -> str:
        """Its Docker, from this machine: a file is seen from everywhere."""
        return f"unix://{self.folder}/docker.sock"

    @property
    def remote(self) -> str:
        """Its Docker, from the other nodes."""
        return f"tcp://{self.address}:{DOCKER_PORT}"

    def begin_docker(self, pool: int) -> None:
        """`/run` is its own: a second daemon must not adopt the containerd of the first."""
        self.folder.mkdir(parents=True)
        hosts = [self.engine, *([self.remote] if self.name != "app" else [])]
        settings = {
            "data-root": f"{self.folder}/lib", "exec-root": f"{self.folder}/run", "pidfile": f"{self.folder}/docker.pid",
            "hosts": hosts, "tls": False, "cgroup-parent": f"/{self.space}", "bip": f"10.{pool + 8}.0.1/24",
            "default-address-pools": [{"base": f"10.{pool}.0.0/16", "size": 24}],
        }  # fmt: skip
        (self.folder / "daemon.json").write_text(json.dumps(settings))
        begin = f"mount -t tmpfs tmpfs /run && exec dockerd --config-file {self.folder}/daemon.json"
        words = ["nsenter", f"--net=/run/netns/{self.space}", "unshare", "--mount", "--pid", "--uts", "--fork", "--kill-child"]
        with (self.folder / "log").open("wb") as log:
            self.daemon = subprocess.Popen(
                [*words, "--mount-proc", "--propagation", "private", "sh", "-c", begin], stdout=log, stderr=log
            )

    def until_docker(self) -> None:
        end = time.monotonic() + UP_SECONDS
        while True:
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as line:
                line.connect(self.engine.removeprefix("unix://"))
                line.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
                if b" 200 " in line.recv(100):
                    return
            if time.monotonic() > end:
                raise AssertionError((self.folder / "log").read_text()[-3000:])
            time.sleep(0.05)

    def docker(self, *words: str) -> list[str]:
        """What the Docker command there says, by lines."""
        said = subprocess.run(["docker", "-H", self.engine, *words], check=True, capture_output=True, text=True)
        return said.stdout.splitlines()

    def end(self) -> None:
        if self.daemon is not None:
            self.daemon.kill()
            self.daemon.wait()
            self.daemon = None
        subprocess.run(["ip", "netns", "del", self.space], capture_output=True, check=False)


@dataclass
class Nodes:
    """All of them; one may be knocked on from another."""

    folder: Path
    wire: str
    app: Node
    storage: Node
    dns: Node
    backup: Node
    _tunnels: list[socket.socket] = field(default_factory=list)

    @property
    def every(self) -> tuple[Node, ...]:
        return self.app, self.storage, self.dns, self.backup

    def reaches(self, source: Node, target: Node, port: int, seconds: float = 0.6) -> bool:
        with entered(source.space), contextlib.suppress(OSError):
            socket.create_connection((target.address, port), seconds).close()
            return True
        return False

    def tunnel(self, source: Node, target: Node, port: int) -> int:
        """A port on loopback of one node that leads to one on loopback of another: what `ssh -L` makes."""
        with entered(source.space):
            server = socket.create_server(("127.0.0.1", 0))
        self._tunnels.append(server)
        threading.Thread(target=_serve, args=(server, target.space, port), daemon=True).start()
        return int(server.getsockname()[1])

    def close(self) -> None:
        for server in self._tunnels:
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
        for node in self.every:
            node.end()
        subprocess.run(["ip", "netns", "del", self.wire], capture_output=True, check=False)
        without_groups(self.folder.name)
        shutil.rmtree(self.folder, ignore_errors=True)


def _serve(server: socket.socket, space: str, port: int) -> None:
    """Until it is shut."""
    with server:
        while True:
            try:
                near, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=_carry, args=(near, space, port), daemon=True).start()


def _carry(near: socket.socket, space: str, port: int) -> None:
    with near, contextlib.suppress(OSError):
        with entered(space):
            far = socket.create_connection(("127.0.0.1", port), 5)
        far.settimeout(None)
        with far:
            back = threading.Thread(target=pass_on, args=(far, near), daemon=True)
            back.start()
            pass_on(near, far)
            back.join()


def pass_on(one: socket.socket, other: socket.socket) -> None:
    """Until the one has said everything."""
    with contextlib.suppress(OSError):
        while said := one.recv(65536):
            other.sendall(said)
    with contextlib.suppress(OSError):
        other.shutdown(socket.SHUT_WR)


def without_groups(stem: str) -> None:
    """The empty control groups that the containers of our daemons leave."""
    for root in Path("/sys/fs/cgroup").glob(f"**/{stem}-*"):
        for path in sorted((each for each in root.rglob("*") if each.is_dir()), key=lambda each: -len(each.parts)):
            with contextlib.suppress(OSError):
                path.rmdir()
        with contextlib.suppress(OSError):
            root.rmdir()


@contextlib.contextmanager
def nodes() -> Iterator[Nodes]:
    """Up, and gone afterwards with everything in them."""
    folder = Path(tempfile.mkdtemp(prefix="codebtest-"))
    stem, short = folder.name, f"{os.getpid() % 100000}{next(COUNT)}"
    found = {name: Node(name, f"{stem}-{name}", f"{NET}.{11 + number}", folder / name) for number, name in enumerate(NAMES)}
    made = Nodes(folder, f"{stem}-wire", **found)
    try:
        ip("netns", "add", made.wire)
        ip("-n", made.wire, "link", "add", "wire", "type", "bridge")
        ip("-n", made.wire, "link", "set", "wire", "up")
        for number, node in enumerate(made.every):
            ip("netns", "add", node.space)
            ip("-n", node.space, "link", "set", "lo", "up")
            here, there = f"cn{number}0{short}"[:15], f"cn{number}1{short}"[:15]
            ip("link", "add", here, "netns", node.space, "type", "veth", "peer", "name", there, "netns", made.wire)
            ip("-n", made.wire, "link", "set", there, "master", "wire", "up")
            ip("-n", node.space, "addr", "add", f"{node.address}/24", "dev", here)
            ip("-n", node.space, "link", "set", here, "up")
            inside(node.space, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        for number, name in enumerate(WITH_DOCKER):
            found[name].begin_docker(224 + number)
        for name in WITH_DOCKER:
            found[name].until_docker()
        yield made
    finally:
        made.close()
