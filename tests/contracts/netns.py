"""A machine of the test's own, in a network namespace: it has a firewall, ports, and one outside that knocks on them."""

import contextlib
import ctypes
import itertools
import os
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
COUNT = itertools.count()
INSIDE6, OUTSIDE6 = "2001:db8::1", "2001:db8::2"
INSIDE, OUTSIDE, STRANGER, BOX = "192.0.2.1", "192.0.2.2", "192.0.2.130", "198.51.100.2"
"""the machine, one who may be let in, one of another network (same wire), and a container behind the machine"""


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def inside(name: str, *words: str, text: str = "") -> str:
    """Run a program in the namespace; gives what it wrote."""
    said = subprocess.run(["ip", "netns", "exec", name, *words], check=True, capture_output=True, text=True, input=text)
    return said.stdout


def _enter(handle: int) -> None:
    if LIBC.setns(handle, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


@contextlib.contextmanager
def entered(name: str) -> Iterator[None]:
    """This thread in the namespace: sockets made meanwhile stay there."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{name}", os.O_RDONLY)
    try:
        _enter(there)
        yield
    finally:
        _enter(home)
        os.close(home)
        os.close(there)


@dataclass
class Net:
    """`machine` has the firewall, `street` is outside, `box` is a container whose port the machine publishes."""

    machine: str
    street: str
    box: str

    def listen(self, name: str, port: int) -> socket.socket:
        with entered(name):
            server = socket.create_server(("0.0.0.0", port), backlog=16)
        server.settimeout(2)
        return server

    def knock(self, port: int, source: str = OUTSIDE, seconds: float = 0.6) -> socket.socket | None:
        """A connection from outside; None when nobody lets it in."""
        with entered(self.street):
            line = socket.socket()
            line.settimeout(seconds)
            line.bind((source, 0))
        try:
            line.connect((INSIDE, port))
        except OSError:
            line.close()
            return None
        return line

    def opens(self, port: int, source: str = OUTSIDE) -> bool:
        line = self.knock(port, source)
        if line is not None:
            line.close()
        return line is not None

    def publish(self, port: int, to: int, by: str = "nft") -> None:
        """As Docker does it: redirected before the input hook, in tables of its own, by the program it has."""
        if by == "iptables":
            words = f"-t nat -A PREROUTING -p tcp --dport {port} -j DNAT --to-destination {BOX}:{to}"
            inside(self.machine, "iptables", *words.split())
            return
        inside(
            self.machine, "nft", "-f", "-",
            text=f"table ip nat {{\nchain PREROUTING {{\ntype nat hook prerouting priority -100;\n"
            f"tcp dport {port} dnat to {BOX}:{to}\n}}\n}}\n",
        )  # fmt: skip


@contextlib.contextmanager
def net() -> Iterator[Net]:
    """Gone afterwards, with everything in it."""
    stem = f"codebtest-{os.getpid()}-{next(COUNT)}"
    made = Net(f"{stem}-m", f"{stem}-s", f"{stem}-b")
    short = f"{os.getpid() % 100000}{next(COUNT)}"
    try:
        for name in (made.machine, made.street, made.box):
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        for other, number, here, there in (
            (made.street, "w", f"{INSIDE}/24", f"{OUTSIDE}/24"), (made.box, "b", "198.51.100.1/24", f"{BOX}/24"),
        ):  # fmt: skip
            one, two = f"ct{number}0{short}"[:15], f"ct{number}1{short}"[:15]
            ip("link", "add", one, "netns", made.machine, "type", "veth", "peer", "name", two, "netns", other)
            for name, link, address in ((made.machine, one, here), (other, two, there)):
                ip("-n", name, "addr", "add", address, "dev", link)
                ip("-n", name, "link", "set", link, "up")
        ip("-n", made.street, "addr", "add", f"{STRANGER}/24", "dev", f"ctw1{short}"[:15])
        ip("-n", made.box, "route", "add", "default", "via", "198.51.100.1")
        for name, link, address in ((made.machine, "ctw0", INSIDE6), (made.street, "ctw1", OUTSIDE6)):
            ip("-n", name, "addr", "add", f"{address}/64", "dev", f"{link}{short}"[:15], "nodad")
        inside(made.machine, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        yield made
    finally:
        for name in (made.machine, made.street, made.box):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
