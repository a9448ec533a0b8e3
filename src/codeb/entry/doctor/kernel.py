"""What the kernel of this machine says: who listens, who has a file open, what a folder lies on. Reads /proc, nothing else."""

import ipaddress
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from codeb.drivers.sockets import listening

PROC = Path("/proc")
SOCKET = re.compile(r"socket:\[([0-9]+)\]")
ESCAPE = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True)
class Listener:
    """One listening TCP socket."""

    address: str
    port: int
    inode: str

    @property
    def loopback(self) -> bool:
        return ipaddress.ip_address(self.address).is_loopback


@dataclass(frozen=True)
class Process:
    """A process and what it was started as."""

    pid: int
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{Path(self.words[0]).name if self.words else '?'} (process {self.pid})"


@dataclass(frozen=True)
class Mount:
    """The file system a path lies on."""

    point: Path
    kind: str
    read_only: bool


def listeners() -> list[Listener]:
    """Every listening TCP socket, IPv4 and IPv6. Raises `OSError`."""
    tables = (PROC / "net/tcp", PROC / "net/tcp6")
    return [each for table in tables if table.exists() for each in _listeners(table)]


def _listeners(table: Path) -> Iterator[Listener]:
    for words in listening.listeners(table):
        yield Listener(_address(words[1].rpartition(":")[0]), listening.port_of(words), words[9])


def _address(text: str) -> str:
    # in words of four bytes, each in the order of this machine's processor, as the kernel prints them
    raw = bytes.fromhex(text)
    turned = b"".join(raw[at : at + 4][::-1] for at in range(0, len(raw), 4))
    found = ipaddress.ip_address(turned)
    mapped = getattr(found, "ipv4_mapped", None)
    return str(mapped or found)


def processes() -> Iterator[int]:
    return (int(path.name) for path in PROC.iterdir() if path.name.isdigit())


def process(pid: int) -> Process:
    """What runs under this id; without words when it is gone or not ours to see."""
    try:
        raw = (PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return Process(pid, ())
    return Process(pid, tuple(part.decode(errors="replace") for part in raw.split(b"\0") if part))


def open_files(pid: int) -> list[str]:
    """What the links of its open files say; nothing for a process that is gone or of another user."""
    found = []
    with suppress(OSError):
        for link in (PROC / str(pid) / "fd").iterdir():
            with suppress(OSError):
                found.append(str(link.readlink()))
    return found


def holders(inodes: Iterable[str]) -> dict[str, Process]:
    """Socket inode -> a process that has it open, as far as this user may see."""
    wanted, found = set(inodes), dict[str, Process]()
    for pid in processes() if wanted else ():
        for text in open_files(pid):
            match = SOCKET.fullmatch(text)
            if match and match[1] in wanted:
                found.setdefault(match[1], process(pid))
    return found


def sockets_of(pid: int) -> set[str]:
    return {match[1] for text in open_files(pid) if (match := SOCKET.fullmatch(text))}


def having_open(path: Path) -> list[Process]:
    """Every process that has this file open, also when its name is gone since."""
    names = {str(path), f"{path} (deleted)"}
    return [process(pid) for pid in sorted(processes()) if names & set(open_files(pid))]


def mount_of(path: Path) -> Mount:
    """The mount that a path lies on, the last one where several cover each other. Raises `OSError`."""
    real, found = path.resolve(), Mount(Path("/"), "?", False)
    for line in (PROC / "self/mountinfo").read_text().splitlines():
        head, _, tail = line.partition(" - ")
        words, kind = head.split(), tail.split()[0]
        point = Path(ESCAPE.sub(lambda match: chr(int(match[1], 8)), words[4]))
        if real.is_relative_to(point) and len(point.parts) >= len(found.point.parts):
            options = {*words[5].split(","), *tail.split()[-1].split(",")}
            found = Mount(point, kind, "ro" in options)
    return found


def setting(name: str) -> str | None:
    """A sysctl by its dotted name; None when this kernel does not have it."""
    try:
        return (PROC / "sys" / name.replace(".", "/")).read_text().strip()
    except OSError:
        return None
