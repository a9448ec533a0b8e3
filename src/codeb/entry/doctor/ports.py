"""TCP ports: those CodeB listens on are free or its own, those it hands out are nobody else's."""

from collections.abc import Collection, Iterator, Mapping
from itertools import combinations
from pathlib import Path

from codeb.config import Settings
from codeb.drivers.proxy.caddyfile import CaddySettings
from codeb.entry.doctor import kernel, proxy
from codeb.entry.doctor.server import servers
from codeb.model.ports import Range
from codeb.model.specs import Finding

EPHEMERAL, RESERVED = "net.ipv4.ip_local_port_range", "net.ipv4.ip_local_reserved_ports"
EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - compared with, not bound to
LOW = 1024


def check(settings: Settings) -> Iterator[Finding]:
    """Raises `OSError`."""
    own = CaddySettings(settings.proxy_dir, Path("caddy"), settings.http_port, settings.https_port)
    mine = {each.pid for each in servers(settings.home)}
    caddy = {pid} if (pid := proxy.running(own)) else set()
    yield _port("http port", settings.http_port, _bind(settings), caddy, "CODEB_HTTP_PORT")
    if settings.tls_mode != "off":
        yield _port("https port", settings.https_port, _bind(settings), caddy, "CODEB_HTTPS_PORT")
    yield _port("api port", settings.port, [settings.host], mine, "CODEB_PORT")
    yield _api(settings)
    yield _apart(settings)
    yield _ephemeral(settings)


def _bind(settings: Settings) -> list[str]:
    return settings.caddy_bind.split() or ["0.0.0.0"]  # noqa: S104 - what the proxy does without a setting


def _port(name: str, port: int, bind: list[str], ours: Collection[int], variable: str) -> Finding:
    """Free, or held by one of ours; else it says by whom."""
    addresses = {"127.0.0.1" if each == "localhost" else each for each in bind}
    met = [each for each in kernel.listeners() if each.port == port and _meet(each.address, addresses)]
    held = kernel.holders(each.inode for each in met)
    strangers = [each for each in met if (who := held.get(each.inode)) is None or who.pid not in ours]
    if not met:
        if port < LOW and not proxy.may_bind_low_ports():
            fix = f"sysctl -w net.ipv4.ip_unprivileged_port_start={port}   (or a {variable} above 1023)"
            return Finding(name, "fail", f"{port} is free, and this user may not listen below {LOW}.", fix)
        return Finding(name, "pass", f"{port} is free.")
    if not strangers:
        return Finding(name, "pass", f"{port} is held by CodeB's own {held[met[0].inode]}.")
    who = held.get(strangers[0].inode)
    if who is None:
        text = f"{port} is held on {strangers[0].address} by a process of another user."
        return Finding(name, "fail", text, f"See which: sudo we doctor; then end it, or set {variable}")
    fix = f"End it (kill {who.pid}), or set {variable} to another port"
    return Finding(name, "fail", f"{port} is held on {strangers[0].address} by {who}.", fix)


def _meet(address: str, wanted: set[str]) -> bool:
    return address in wanted or address in EVERYWHERE or bool(wanted & set(EVERYWHERE))


def _api(settings: Settings) -> Finding:
    """The API speaks plain HTTP: keys may not cross a network in it."""
    try:
        loopback = kernel.Listener(settings.host.replace("localhost", "127.0.0.1"), settings.port, "").loopback
    except ValueError:
        loopback = False
    if loopback:
        return Finding("api address", "pass", f"The API listens on {settings.host} alone.")
    text = f"The API is meant for {settings.host}, and is without TLS: keys cross the network readable."
    return Finding("api address", "warn", text, "Set CODEB_HOST=127.0.0.1 and reach it through SSH or a proxy with TLS")


def _spans(settings: Settings) -> Mapping[str, Range]:
    found = settings.ranges
    own = {"the http port": settings.http_port, "the https port": settings.https_port, "the api port": settings.port}
    return {
        "production": found.production, "staging": found.staging, "preview": found.preview,
        **{name: Range(port, port) for name, port in own.items()},
    }  # fmt: skip


def _overlap(one: Range, other: Range) -> bool:
    return one.first <= other.last and other.first <= one.last


def _apart(settings: Settings) -> Finding:
    for (name, one), (other, two) in combinations(_spans(settings).items(), 2):
        if _overlap(one, two):
            fix = "Choose ranges apart from each other: CODEB_PORTS_PRODUCTION, CODEB_PORTS_STAGING, CODEB_PORTS_PREVIEW"
            return Finding("port ranges", "fail", f"{name} ({one}) and {other} ({two}) have ports in common.", fix)
    return Finding("port ranges", "pass", "The ranges of the environments and CodeB's own ports lie apart.")


def _ephemeral(settings: Settings) -> Finding:
    """A port of a slot that is not bound just now may be taken by any outgoing connection of the machine."""
    said = kernel.setting(EPHEMERAL)
    if said is None:
        return Finding("port ranges and the kernel", "pass", "This kernel does not say which ports it hands out.")
    first, last = (int(word) for word in said.split())
    reserved = [_range(word) for word in (kernel.setting(RESERVED) or "").split(",") if word]
    found = settings.ranges
    for name, span in (("production", found.production), ("staging", found.staging), ("preview", found.preview)):
        if _overlap(span, Range(first, last)) and not any(r.first <= span.first and span.last <= r.last for r in reserved):
            text = (
                f"The range of {name} ({span}) meets the ports that the kernel hands to outgoing connections ({first}-{last}):"
                " a deploy may find its port taken by chance."
            )
            fix = f"sysctl -w {RESERVED}={span}   (for good: in /etc/sysctl.d/90-codeb.conf), or move the range below {first}"
            return Finding("port ranges and the kernel", "warn", text, fix)
    return Finding("port ranges and the kernel", "pass", f"Outgoing connections use {first}-{last}: no range meets it.")


def _range(word: str) -> Range:
    first, _, last = word.partition("-")
    return Range(int(first), int(last or first))
