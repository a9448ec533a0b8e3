"""Docker: may we speak to it, is it new enough, does it keep the limits we set, and does it publish only where it should?"""

import ipaddress
import os
import shlex
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from codeb.config import Settings
from codeb.drivers.runtime.docker_client import DockerClient, Refused, negotiate
from codeb.drivers.runtime.docker_inspect import inspect_all
from codeb.drivers.runtime.docker_spec import INSTANCE, bindings_of, container_name
from codeb.entry.doctor import kernel
from codeb.entry.doctor.home import room
from codeb.errors import PublicError
from codeb.model.specs import Finding

BUILT_IN_POOLS = 31
"""networks that fit in what Docker hands out when nobody says otherwise: 172.17–172.31 and 192.168.0.0/16 in twentieths"""
FEW_LEFT = 5
DAEMON_JSON = "/etc/docker/daemon.json"
MANAGED = "codeb.managed"


async def check(settings: Settings) -> list[Finding]:
    client = DockerClient(settings.docker_host)
    try:
        version = await client.version()
        negotiate(version)
        about: Mapping[str, Any] = await client.call("GET", "info")
        networks = await client.call("GET", "networks", params={"filters": '{"driver":["bridge"]}'})
        listed = await client.call("GET", "containers/json", params={"all": "1"})
        seen = await inspect_all(client, [each["Id"] for each in listed])
    except (PublicError, Refused) as fault:
        return [_away(settings.docker_host, fault)]
    finally:
        await client.close()
    found = [
        Finding("docker", "pass", f"Docker {version.get('Version')} answers, API {version.get('ApiVersion')}."),
        limits(about), live_restore(about), log_driver(about), pools(about, len(networks)),
    ]  # fmt: skip
    root = Path(str(about.get("DockerRootDir") or "/var/lib/docker"))
    if settings.docker_host.startswith("unix://") and os.access(root, os.X_OK):
        found.append(room("docker space", root, os.statvfs(root)))
    found += published(settings, seen)
    return [*found, _copies(settings, seen)]


def _away(address: str, fault: PublicError | Refused) -> Finding:
    """Why it does not answer, as far as the socket itself says."""
    if isinstance(fault, Refused):
        return Finding("docker", "fail", f"{fault}.", "See what it says: journalctl -u docker -n 50")
    path = Path(address.removeprefix("unix://"))
    if fault.code == "docker_version" or not address.startswith("unix://"):
        return Finding("docker", "fail", fault.message, fault.hint)
    if not path.exists():
        text = f"There is no socket {path}: Docker is not installed, or does not run. Containers that run keep running."
        return Finding("docker", "fail", text, "systemctl enable --now docker   (installed by: apt-get install docker.io)")
    if not os.access(path, os.R_OK | os.W_OK):
        import getpass

        text = f"{getpass.getuser()} may not open {path} (group {path.group()})."
        fix = f"sudo usermod -aG {path.group()} {getpass.getuser()}, then log in again"
        return Finding("docker", "fail", text, fix)
    fix = "systemctl restart docker, and see why it stopped: journalctl -u docker -n 50"
    return Finding("docker", "fail", f"{fault.message} Its socket {path} is there.", fix)


def limits(about: Mapping[str, Any]) -> Finding:
    """Memory, processor and process limits are hardening: where the kernel ignores them one container takes the machine."""
    names = {"MemoryLimit": "memory", "PidsLimit": "processes", "CpuCfsQuota": "processor"}
    ignored = [word for name, word in names.items() if about.get(name) is False]
    if ignored:
        text = f"The kernel ignores limits of {', '.join(ignored)}: one container can take the whole machine."
        fix = "Add `cgroup_enable=memory swapaccount=1` to the kernel's command line (GRUB_CMDLINE_LINUX), update-grub, reboot"
        return Finding("docker limits", "fail", text, fix)
    if about.get("SwapLimit") is False:
        text = "Limits hold, but swap is not counted: a container may swap as much again as its memory limit."
        fix = "Add `swapaccount=1` to the kernel's command line (GRUB_CMDLINE_LINUX), update-grub, reboot"
        return Finding("docker limits", "warn", text, fix)
    return Finding("docker limits", "pass", f"Limits hold (cgroup v{about.get('CgroupVersion', '1')}).")


def live_restore(about: Mapping[str, Any]) -> Finding:
    if about.get("LiveRestoreEnabled"):
        return Finding("docker restart", "pass", "Containers live on while Docker restarts (live-restore).")
    text = "A restart or upgrade of Docker stops every container, production too."
    fix = f'Put {{"live-restore": true}} into {DAEMON_JSON}, then: systemctl reload docker'
    return Finding("docker restart", "warn", text, fix)


def log_driver(about: Mapping[str, Any]) -> Finding:
    """CodeB's containers name json-file with a size limit themselves; what Docker does by default is for the others."""
    known, default = (about.get("Plugins") or {}).get("Log") or [], about.get("LoggingDriver")
    if known and "json-file" not in known:
        text = "This Docker has no log driver json-file, which every container of CodeB asks for."
        return Finding("docker logs", "fail", text, "Install a Docker Engine with its built-in log drivers")
    return Finding("docker logs", "pass", f"Containers of CodeB log to json-file, 3 × 10 MB (default for others: {default}).")


def pools(about: Mapping[str, Any], used: int) -> Finding:
    """One network per project: Docker hands out subnets from pools, and they do end."""
    said = about.get("DefaultAddressPools") or []
    room_for = sum(_subnets(pool) for pool in said) or BUILT_IN_POOLS
    left = max(0, room_for - used)
    text = f"{used} networks of about {room_for}: room for {left} more projects."
    if left > FEW_LEFT:
        return Finding("docker networks", "pass", text)
    fix = (
        f'Put {{"default-address-pools": [{{"base": "10.200.0.0/16", "size": 24}}]}} (256 networks) into {DAEMON_JSON}, '
        "then restart Docker; unused networks: docker network ls"
    )
    return Finding("docker networks", "warn" if left else "fail", text, fix)


def _subnets(pool: Mapping[str, Any]) -> int:
    try:
        base, size = ipaddress.ip_network(str(pool.get("Base"))), int(pool.get("Size") or 0)
    except ValueError:
        return 0
    return int(2 ** (size - base.prefixlen)) if base.version == 4 and size >= base.prefixlen else 0


def instance_of(settings: Settings) -> str:
    try:
        return (settings.home / "instance").read_text().strip()
    except OSError:
        return ""


def published(settings: Settings, seen: Iterable[Mapping[str, Any]]) -> list[Finding]:
    """S19: what CodeB runs is published on loopback alone, and its ranges of ports are its own."""
    mine, spans = instance_of(settings), settings.ranges
    open_to_all, strangers = [], []
    for each in seen:
        said, name = each["Config"].get("Labels") or {}, container_name(each)
        ours = bool(mine) and said.get(INSTANCE) == mine
        for address, port, protocol in bindings_of(each):
            if said.get(MANAGED) and not _loopback(address):
                open_to_all.append((ours, name, f"{address or '0.0.0.0'}:{port}"))  # noqa: S104 - what is found, not bound
            elif (
                not ours and protocol == "tcp" and any(port in span for span in (spans.production, spans.staging, spans.preview))
            ):
                strangers.append((name, port))
    found = [
        Finding(
            "exposed ports", "fail" if ours else "warn",
            f"Container {name} is published on {where}, past the proxy and open to the network.",
            f"docker rm -f {shlex.quote(name)}, then deploy its project again: CodeB publishes on 127.0.0.1 alone",
        )
        for ours, name, where in open_to_all
    ]  # fmt: skip
    found += [
        Finding(
            "foreign ports", "warn", f"Container {name} is not CodeB's and publishes port {port}, which is in a managed range.",
            f"Publish it on another port, or move the range (CODEB_PORTS_…): docker inspect {shlex.quote(name)}",
        )
        for name, port in strangers
    ]  # fmt: skip
    return found or [Finding("exposed ports", "pass", "No managed container is published beyond 127.0.0.1.")]


def _loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _copies(settings: Settings, seen: Iterable[Mapping[str, Any]]) -> Finding:
    """`docker-proxy` copies every byte between the proxy and a container that is reached over loopback."""
    mine = instance_of(settings)
    ports = {
        str(port)
        for each in seen
        if mine and (each["Config"].get("Labels") or {}).get(INSTANCE) == mine
        for _, port, _ in bindings_of(each)
    }
    count = 0
    for pid in kernel.processes():
        words = kernel.process(pid).words
        if words and Path(words[0]).name == "docker-proxy":
            count += any(flag == "-host-port" and port in ports for flag, port in pairwise(words))
    if not count:
        return Finding("docker userland-proxy", "pass", "No docker-proxy stands between Caddy and CodeB's containers.")
    text = f"{count} docker-proxy processes copy the traffic of CodeB's containers. It works, and costs a process per port."
    fix = f'Where that counts, put {{"userland-proxy": false}} into {DAEMON_JSON} and restart Docker'
    return Finding("docker userland-proxy", "pass", text, fix)
