"""Caddy: which one, new enough, running on the configuration that is on disk, and steered by nobody but us."""

import os
import shlex
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from codeb.config import Settings
from codeb.drivers import shell
from codeb.drivers.proxy import process
from codeb.drivers.proxy.admin import Admin
from codeb.drivers.proxy.caddy import OLDEST
from codeb.drivers.proxy.caddyfile import STREAMS_SURVIVE_RELOAD, CaddySettings
from codeb.entry.doctor import kernel
from codeb.errors import PublicError
from codeb.model.specs import Finding
from codeb.wiring import caddy_binary

MIGRATE = "net.ipv4.tcp_migrate_req"
ADAPT_SECONDS = 15.0


async def check(settings: Settings) -> list[Finding]:
    try:
        binary = caddy_binary(settings)
    except PublicError as fault:
        return [Finding("caddy", "fail", fault.message, fault.hint)]
    own = CaddySettings(settings.proxy_dir, binary, settings.http_port, settings.https_port, settings.tls_mode)
    pid = running(own)
    found = [await _version(own, pid)]
    try:
        process.check_socket_path(own.admin)
    except PublicError as fault:
        return [*found, Finding("caddy admin", "fail", fault.message, fault.hint)]
    found += await _running(own, pid)
    return [*found, _reload()]


def running(own: CaddySettings) -> int | None:
    """The process on our admin socket; else the one we started, when it lives on without that socket."""
    pid = process.find(own.admin)
    if pid is not None:
        return pid
    with suppress(OSError, ValueError):
        started = int((own.dir / "caddy.pid").read_text())
        if str(own.main) in kernel.process(started).words and process.alive(started):
            return started
    return None


async def _version(own: CaddySettings, pid: int | None) -> Finding:
    used = process.running_binary(pid, own.binary)
    home = own.dir if own.dir.is_dir() else Path("/")
    try:
        found = await process.version(used, home)
    except PublicError as fault:
        return Finding("caddy", "fail", fault.message, fault.hint)
    text = f"Caddy {'.'.join(map(str, found))} ({own.binary}{', running' if pid else ''})"
    if found < OLDEST:
        fix = "Point CODEB_CADDY_BIN at Caddy 2.6 or newer, or remove it to use the embedded one; then: we down --all && we up -d"
        return Finding("caddy", "fail", f"{text} is too old: CodeB needs 2.6 or newer.", fix)
    if found < STREAMS_SURVIVE_RELOAD:
        text += ": adding or removing a site cuts the WebSockets of the others. A promote does not."
        return Finding("caddy", "warn", text, "Remove CODEB_CADDY_BIN to use the embedded one, then: we down --all && we up -d")
    return Finding("caddy", "pass", f"{text}.")


async def _running(own: CaddySettings, pid: int | None) -> list[Finding]:
    sites = sorted(own.sites.glob("*.caddy")) if own.sites.is_dir() else []
    if pid is None:
        if sites:
            text = f"No proxy runs: {len(sites)} sites are down."
            return [Finding("caddy running", "fail", text, "we up -d   (or, if the server runs: we down && we up -d)")]
        return [Finding("caddy running", "warn", "No proxy runs, and there is no site yet.", "we up -d")]
    found = [Finding("caddy running", "pass", f"Process {pid}, {len(sites)} sites.")]
    found += _admin(own, pid)
    if found[-1].status != "fail":
        found.append(await _configuration(own))
    return found


def _admin(own: CaddySettings, pid: int) -> Iterator[Finding]:
    """S17: the admin interface is a socket in our folder. Any other TCP port of this process may be one that is open."""
    mine = kernel.sockets_of(pid)
    open_ports = sorted({each.port for each in kernel.listeners() if each.inode in mine} - {own.http_port, own.https_port})
    again = f"we down --all; kill {pid}; we up -d"
    if open_ports:
        text = (
            f"The proxy (process {pid}) listens on TCP port {open_ports[0]} besides its sites: whoever reaches it may steer it."
        )
        yield Finding("caddy admin", "fail", text, f"Start it on CodeB's own configuration: {again}")
    elif process.find(own.admin) is None:
        yield Finding("caddy admin", "fail", f"The proxy (process {pid}) has no admin socket: no site can be changed.", again)
    elif own.admin.stat().st_mode & 0o002:
        text = f"Everybody on this machine may steer the proxy through {own.admin}."
        yield Finding("caddy admin", "fail", text, f"chmod 0200 {shlex.quote(str(own.admin))}")
    else:
        yield Finding("caddy admin", "pass", "Steered through its socket alone.")


async def _configuration(own: CaddySettings) -> Finding:
    admin = Admin(own.admin)
    try:
        if await admin.runs(own.main.read_bytes()):
            return Finding("caddy sites", "pass", "The proxy runs what is on disk.")
    except (OSError, PublicError) as fault:
        return Finding("caddy sites", "fail", f"The proxy does not say what it runs: {fault}", "See caddy.log in its folder")
    finally:
        await admin.close()
    why = await _refusal(own)
    if why:
        text = f"The proxy runs an older configuration: it would refuse the one on disk. {why}"
        fix = f"Correct or remove the file it names in {own.sites}, then: we down && we up -d"
        return Finding("caddy sites", "fail", text, fix)
    return Finding(
        "caddy sites", "warn", "The proxy does not run what is on disk.", "we down && we up -d   (it is loaded at the start)"
    )


async def _refusal(own: CaddySettings) -> str:
    """What Caddy says against the files on disk; empty when it takes them."""
    arguments = [str(own.binary), "adapt", "--config", str(own.main), "--adapter", "caddyfile"]
    try:
        ended = await shell.run(arguments, home=own.dir, seconds=ADAPT_SECONDS)
    except PublicError as fault:
        return fault.message
    lines = ended.err.decode(errors="replace").strip().splitlines()
    return lines[-1][:500] if ended.code and lines else ""


def _reload() -> Finding:
    if kernel.setting(MIGRATE) in ("1", None):
        return Finding("caddy reload", "pass", "A reload keeps the connections that wait to be accepted.")
    text = f"{MIGRATE} is off: a reload of the proxy (a site added or removed) may reset connections that are being opened."
    fix = f"sysctl -w {MIGRATE}=1, and for good: echo {MIGRATE}=1 > /etc/sysctl.d/90-codeb.conf"
    return Finding("caddy reload", "warn", text, fix)


def may_bind_low_ports() -> bool:
    """Whether a program this user starts may listen below 1024."""
    first = int(kernel.setting("net.ipv4.ip_unprivileged_port_start") or 1024)
    return os.geteuid() == 0 or first <= 80
