"""The one renderer of proxy configuration: values in, text out, nothing read or written.

Every value is held to its grammar here once more, whatever was checked before: a brace, quote, backslash or
newline in a value would otherwise be configuration. Raises `InvalidParams` naming the value.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from codeb.errors import InvalidParams
from codeb.model import grammar, names
from codeb.model.names import Slot
from codeb.model.specs import Site

Tls = Literal["auto", "internal", "off"]
Version = tuple[int, int, int]

FOLDER = re.compile(r"/[A-Za-z0-9._@+/-]{1,511}")
PROBE_HEADER = "X-CodeB-Probe"
PASS_HEADER = "X-CodeB-Pass"  # noqa: S105 - the name of a header
"""with the probe key as its value a request of our own goes behind the maintenance page"""
PROBE_KEY = re.compile(r"[0-9a-f]{32,64}")
BIND = re.compile(r"[0-9a-f.:]{2,45}")

STREAMS_SURVIVE_RELOAD = (2, 7, 0)
"""from here on `stream_close_delay` is known: a reload leaves the WebSockets of all sites alone"""
BODIES_SENT_AGAIN = (2, 11, 3)
"""from here on, for certain, a request with a body that met a refused connection is tried again (caddy#7547); else 502"""
COUNTED_HEALTH_CHECKS = (2, 9, 0)
"""from here on (2.8 or so) `health_fails` is known: one slow answer to a health check is not yet a failure"""

PAGE = '<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><h1>{title}</h1><p>{text}</p></html>'


@dataclass(frozen=True)
class CaddySettings:
    """Where the proxy lives and listens. `bind` empty: on every address.

    `probe_key` (hex, a secret) lets CodeB's own requests try the way with a fallback before it is allowed; empty: none.
    """

    dir: Path
    binary: Path
    http_port: int = 80
    https_port: int = 443
    tls: Tls = "auto"
    bind: tuple[str, ...] = ()
    probe_key: str = field(default="", repr=False)

    @property
    def main(self) -> Path:
        return self.dir / "Caddyfile"

    @property
    def sites(self) -> Path:
        return self.dir / "sites"

    @property
    def slots(self) -> Path:
        return self.dir / "slots"

    @property
    def admin(self) -> Path:
        return self.dir / "admin.sock"


def render_main(settings: CaddySettings, version: Version) -> bytes:
    """The main Caddyfile: global options, the answer to unknown hosts, and the import of all sites."""
    folder = _folder(settings.dir)
    options = [
        f"admin unix/{folder}/admin.sock",
        f"storage file_system {folder}/data",
        f"http_port {_port(settings.http_port)}",
        f"https_port {_port(settings.https_port)}",
        "skip_install_trust",
        # How long a Caddy that is told to end waits for answers under way. A reload cuts none of them, whatever this says.
        "grace_period 30s",
    ]
    if version >= STREAMS_SURVIVE_RELOAD:
        options.append("persist_config off")
    if settings.tls != "auto":
        options.append("auto_https " + ("off" if settings.tls == "off" else "disable_redirects"))
    if settings.bind:
        options.append("default_bind " + " ".join(_bind(address) for address in settings.bind))
    options += [
        _log(folder),
        # No limit on reading a body or writing an answer: uploads, slow answers and streams take as long as they take.
        _block("servers", [_block("timeouts", ["read_header 30s", "idle 5m"])]),
    ]
    unknown = ["header -Server", 'respond "no such site" 404']
    parts = [
        # Without an empty line between the two, as `caddy fmt` has it.
        "# Managed by CodeB: its next start writes this file anew. One file per site is in sites/.\n" + _block("", options),
        _block("http://", unknown),
    ]
    if settings.tls != "off":
        # For a known certificate name with an unknown Host header; an unknown name gets no handshake.
        parts.append(_block("https://", ["tls internal", *unknown]))
    parts.append(f"import {folder}/sites/*.caddy")
    return _text(parts)


def render_site(site: Site, settings: CaddySettings, version: Version) -> bytes:
    """One environment: its public hosts behind the switch, and a preview host for each slot."""
    _check(site)
    blue, green = site.port(Slot.BLUE), site.port(Slot.GREEN)
    folder = f"{_folder(settings.slots)}/{site.place.key}"
    head = [
        "# Managed by CodeB: changes made here by hand are overwritten.",
        f"# Project {site.place.project}, environment {site.place.environment}:"
        f" blue on 127.0.0.1:{blue}, green on 127.0.0.1:{green}.",
        f"# Which slot is live is not written here; see it with: we slot status {site.place.project}"
        f" --environment {site.place.environment}",
        f"# or: ls {folder}   (green: green is live, else blue; fallback: the other may stand in; hold: 503;"
        " curtain: maintenance)",
    ]
    parts = ["\n".join(head), _public(site, settings, version, folder)]
    parts += [_redirect(site, host, target, settings) for host, target in site.redirects]
    parts += [_preview(site, slot, host, settings, version) for slot, host in site.preview_hosts]
    return _text(parts)


def _public(site: Site, settings: CaddySettings, version: Version, folder: str) -> str:
    ports = dict(site.ports)
    body = _common(site, settings)
    # Looked up when the header is written, after the choice of upstream: the slot that really answered.
    body.append(_block("map {http.reverse_proxy.upstream.port} {codeb_slot}", [f"{ports[s]} {s.value}" for s in Slot]))
    body += _curtain(folder, settings.probe_key)
    held = _page("Not available yet", "No version is live here: none was promoted, or the site is on hold.", "503")
    body += [_marker("hold", folder), _block("handle @hold", ["header Retry-After 10", *held])]
    body += [_marker("green", folder), _block("handle @green", _slot(Slot.GREEN, site, settings, version))]
    body.append(_block("handle", _slot(Slot.BLUE, site, settings, version)))
    body.append(_failed(site, "This application does not answer", "Please try again in a moment."))
    return _block(_addresses(site.hosts, settings), body)


def _curtain(folder: str, probe_key: str) -> list[str]:
    """The maintenance page, before everything else; CodeB's own requests, which have to see what is behind it, pass."""
    matcher = [f"root {folder}", "try_files /curtain"]
    lines = [_block("file", matcher)]
    if probe_key:
        lines.append(f"not header {PASS_HEADER} {_key(probe_key)}")
    page = _page("Maintenance", "This site is being worked on. Please come back in a moment.", "503")
    return [_block("@curtain", lines), _block("handle @curtain", ["header Retry-After 60", *page])]


def _redirect(site: Site, host: str, target: str, settings: CaddySettings) -> str:
    """To the same path on another name of this site, by the same scheme."""
    schemes = {"off": ("http",), "internal": ("http", "https"), "auto": ("https",)}[settings.tls]
    parts = []
    for scheme in schemes:
        port = settings.https_port if scheme == "https" else settings.http_port
        shown = "" if port == {"http": 80, "https": 443}[scheme] else f":{_port(port)}"
        tls = ["tls internal"] if settings.tls == "internal" and scheme == "https" else []
        address = host if settings.tls == "auto" else f"{scheme}://{host}"
        parts.append(_block(address, [*tls, _headers(site), f"redir {scheme}://{target}{shown}{{uri}} 308"]))
    return "\n\n".join(parts)


def _slot(live: Slot, site: Site, settings: CaddySettings, version: Version) -> list[str]:
    """The two ways a live slot is reached: alone, or with the other one to stand in."""
    folder = f"{_folder(settings.slots)}/{site.place.key}"
    pair = (site.port(live), site.port(live.other))
    return [
        _standing_in(folder, settings.probe_key),
        _block("handle @fallback", [_upstream(pair, version, health_path=site.path(live))]),
        _block("handle", [_upstream(pair[:1], version)]),
    ]


def _preview(site: Site, slot: Slot, host: str, settings: CaddySettings, version: Version) -> str:
    body = _common(site, settings)
    body.append(_block("map {http.reverse_proxy.upstream.port} {codeb_slot}", [f"{site.port(slot)} {slot.value}"]))
    body.append(_upstream((site.port(slot),), version, patient=False))
    body.append(_failed(site, "Nothing runs here", f"No version answers in the {slot.value} slot of this site.", "503"))
    return _block(_addresses((host,), settings), body)


def _upstream(ports: Sequence[int], version: Version, health_path: str = "", *, patient: bool = True) -> str:
    """A proxy to the first port; a second one is asked only when the first is down.

    Thresholds, measured (docs/measured.md): a killed container refuses connections, which is tried again at once
    whatever the method, so ten failures are over in milliseconds under load and in 0.1 s for a lone client; ten
    broken answers within two seconds are more than stray resets and less than an application that is down. Where
    every failure may be a lost POST, five have to do.
    """
    options = ["header_down X-CodeB-Slot {codeb_slot}", f"header_up -{PASS_HEADER}", "lb_try_interval 10ms"]
    if len(ports) > 1:
        options += [f"header_up -{PROBE_HEADER}", "lb_policy first", "lb_try_duration 5s", "fail_duration 2s"]
        options.append(f"max_fails {10 if version >= BODIES_SENT_AGAIN else 5}")
        options += [f"health_uri {health_path}", "health_interval 5s", "health_timeout 5s"]
        if version >= COUNTED_HEALTH_CHECKS:
            options.append("health_fails 2")
    elif patient:
        # Bridges the restart of a container; with nobody to stand in there is nothing to check for.
        options.append("lb_try_duration 2s")
    if version >= STREAMS_SURVIVE_RELOAD:
        options.append("stream_close_delay 24h")
    # Shorter than the idle time of common application servers (2 to 5 s): they never close a connection we are using.
    options.append(_block("transport http", ["keepalive 1s"]))
    return _block("reverse_proxy " + " ".join(f"127.0.0.1:{port}" for port in ports), options)


def _common(site: Site, settings: CaddySettings) -> list[str]:
    body = ["encode zstd gzip", _headers(site)]
    return ["tls internal", *body] if settings.tls == "internal" else body


def _headers(site: Site) -> str:
    # Deferred: set when the answer is written, over whatever the application said.
    return _block("header", ["-Server", f"X-CodeB-Project {site.place.project}", "defer"])


def _failed(site: Site, title: str, text: str, status: str = "{err.status_code}") -> str:
    return _block("handle_errors", [_headers(site), *_page(title, text, status)])


def _log(folder: str) -> str:
    """Caddy writes down the headers of a request that failed: not those with our secret."""
    ours = [f"request>headers>{name.title()} delete" for name in (PROBE_HEADER, PASS_HEADER)]
    unsaid = _block("format filter", ["wrap json", _block("fields", ours)])
    return _block("log", ["level WARN", _block(f"output file {folder}/caddy.log", ["roll_size 10MiB", "roll_keep 3"]), unsaid])


def _page(title: str, text: str, status: str) -> list[str]:
    return [
        'header Content-Type "text/html; charset=utf-8"',
        "header Cache-Control no-store",
        f"respond `{PAGE.format(title=title, text=text)}` {status}",
    ]


def _marker(name: str, folder: str) -> str:
    return _block(f"@{name} file", [f"root {folder}", f"try_files /{name}"])


def _standing_in(folder: str, probe_key: str) -> str:
    """The marker is there, or the request is CodeB's own trial. Matchers of one set are joined by and: so not (not, not)."""
    if not probe_key:
        return _marker("fallback", folder)
    marker = _block("not file", [f"root {folder}", "try_files /fallback"])
    return _block("@fallback", [_block("not", [marker, f"not header {PROBE_HEADER} {_key(probe_key)}"])])


def _key(probe_key: str) -> str:
    if not PROBE_KEY.fullmatch(probe_key):
        raise InvalidParams("The probe key of the proxy is not hexadecimal.", hint="Remove probe.key in the proxy's folder.")
    return probe_key


def _addresses(hosts: Sequence[str], settings: CaddySettings) -> str:
    if settings.tls == "off":
        return ", ".join(f"http://{host}" for host in hosts)
    if settings.tls == "internal":
        return ", ".join(f"http://{host}, https://{host}" for host in hosts)
    return ", ".join(hosts)


def _block(head: str, lines: Sequence[str]) -> str:
    inner = "\n".join("\t" + line for entry in lines for line in entry.split("\n"))
    return f"{head} {{\n{inner}\n}}".lstrip()


def _text(parts: Sequence[str]) -> bytes:
    return ("\n\n".join(parts) + "\n").encode("ascii")


def _check(site: Site) -> None:
    if names.parse_place(site.place.key) != site.place:
        raise _refused("project and environment", site.place.key)
    hosts = [*site.names, *(host for _, host in site.preview_hosts)]
    if any(target not in site.hosts for _, target in site.redirects):
        raise _refused("redirect", ", ".join(target for _, target in site.redirects))
    if not site.hosts or len(set(hosts)) != len(hosts):
        raise _refused("hosts", ", ".join(hosts))
    for host in hosts:
        labels = host.split(".")
        if len(host) > 253 or len(labels) < 2 or not all(grammar.LABEL.fullmatch(label) for label in labels):
            raise _refused("host", host)
    slots = sorted(slot for slot, _ in site.ports)
    if slots != sorted(Slot) or len({port for _, port in site.ports}) != len(slots):
        raise _refused("ports", str(site.ports))
    for _, port in site.ports:
        _port(port)
    for path in (site.health_path, *(own for _, own in site.own_paths)):
        try:
            grammar.health_path(path)
        except ValueError as error:
            raise _refused("health path", path) from error


def _port(port: int) -> int:
    if type(port) is not int or not 1 <= port <= 65535:
        raise _refused("port", str(port))
    return port


def _bind(address: str) -> str:
    if not BIND.fullmatch(address):
        raise _refused("bind address", address)
    return address


def _folder(path: Path) -> str:
    text = str(path)
    if not FOLDER.fullmatch(text) or "//" in text or any(part in (".", "..") for part in text.split("/")):
        raise _refused("folder", text)
    return text


def _refused(what: str, value: str) -> InvalidParams:
    return InvalidParams(
        f"This {what} cannot be put into the proxy's configuration; nothing was changed.",
        hint=f"Correct the {what}: letters, digits and the punctuation its grammar allows, nothing else.",
        details={what: value[:300]},
    )
