"""What Docker is asked for to run storage, and how what it says is read: pure functions between model values and API bodies.

The images are run as their makers document it: PostgreSQL's reads POSTGRES_USER and POSTGRES_PASSWORD once, into an empty
volume; Redis' has its users in a file, with hashes for passwords, so that none is among its arguments.
"""

import hashlib
import io
import ipaddress
import tarfile
from collections.abc import Mapping
from typing import Any

from codeb.drivers.runtime.docker_spec import MIB, SAFE_CAPABILITIES, bindings_of, container_name, never_started
from codeb.errors import InternalFault
from codeb.model.instances import ADMIN, INNER, Instance, InstanceSpec
from codeb.model.secret import Secret
from codeb.model.storage import Kind

INSTANCE, STORAGE = "codeb.storage.instance", "codeb.storage.id"
"""labels of their own: what runs apps never takes these for containers of a slot"""
FOLDER: Mapping[Kind, str] = {Kind.POSTGRES: "/var/lib/postgresql/data", Kind.REDIS: "/data"}
"""where the volume is mounted"""
USERS = "users.acl"
SHARED_MB = 128
"""PostgreSQL's parallel queries pass rows through it; Docker's own 64 MB are too few"""

_HOST_KEYS = frozenset({
    "NetworkMode", "PortBindings", "RestartPolicy", "Memory", "MemorySwap", "NanoCpus", "PidsLimit", "ShmSize", "Mounts",
    "CapDrop", "CapAdd", "SecurityOpt", "LogConfig", "Init",
})  # fmt: skip
_BODY_KEYS = frozenset({"Image", "Env", "Cmd", "Labels", "ExposedPorts", "StopTimeout", "StopSignal", "HostConfig"})


def network_of(instance: str) -> str:
    """One for all storage containers of an installation. No project's network has an underscore in its name."""
    return f"codeb_storage_{instance}"


def labels(spec: InstanceSpec, instance: str) -> dict[str, str]:
    return {
        INSTANCE: instance, STORAGE: spec.storage_id, "codeb.storage.project": spec.place.project,
        "codeb.storage.environment": spec.place.environment, "codeb.storage.kind": spec.kind.value,
    }  # fmt: skip


def body_of(spec: InstanceSpec, image_id: str, password: Secret, instance: str) -> dict[str, Any]:
    """The body of `POST /containers/create`."""
    memory = spec.limits.memory_mb * MIB
    inner = f"{INNER[spec.kind]}/tcp"
    command: dict[str, Any] = {} if spec.kind is Kind.POSTGRES else {"Cmd": _redis(spec)}
    return {
        "Image": image_id,
        "Env": _env(spec, password),
        **command,
        "Labels": labels(spec, instance),
        "ExposedPorts": {inner: {}},
        "StopTimeout": spec.limits.stop_seconds,
        # on SIGTERM PostgreSQL waits for its clients to leave, which they do not
        "StopSignal": "SIGINT" if spec.kind is Kind.POSTGRES else "SIGTERM",
        "HostConfig": {
            "NetworkMode": network_of(instance),
            "PortBindings": {inner: [{"HostIp": spec.address, "HostPort": str(spec.port)}]},
            "RestartPolicy": {"Name": "unless-stopped"},
            "Memory": memory,
            "MemorySwap": memory,
            "NanoCpus": round(spec.limits.cpus * 1_000_000_000),
            "PidsLimit": spec.limits.pids,
            "ShmSize": SHARED_MB * MIB,
            "Mounts": [{"Type": "volume", "Source": spec.volume, "Target": FOLDER[spec.kind]}],
            "CapDrop": ["ALL"],
            "CapAdd": list(spec.limits.capabilities),
            "SecurityOpt": ["no-new-privileges"],
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}},
            "Init": True,
        },
    }


def _env(spec: InstanceSpec, password: Secret) -> list[str]:
    if spec.kind is Kind.REDIS:
        return []
    # a folder of its own in the volume: the volume's own may hold lost+found
    return [f"POSTGRES_USER={ADMIN}", f"POSTGRES_PASSWORD={password.reveal()}", f"PGDATA={FOLDER[spec.kind]}/pgdata"]


def _redis(spec: InstanceSpec) -> list[str]:
    """It writes as the specification says (AOF every second, RDB), and refuses writes before its container has no memory."""
    folder = FOLDER[Kind.REDIS]
    return [
        "redis-server", "--dir", folder, "--aclfile", f"{folder}/{USERS}", "--appendonly", "yes", "--appendfsync", "everysec",
        "--save", "900 1 300 10 60 10000", "--maxmemory", f"{spec.limits.memory_mb * 3 // 4}mb",
        "--maxmemory-policy", "noeviction",
    ]  # fmt: skip


def users_file(password: Secret) -> bytes:
    """A tar with the first users of a Redis. Readable for whoever the image runs it as: it has a hash of 192 random bits.

    The default user cannot log in and keeps its permissions: without them Redis drops transactions as it loads its file.
    """
    word = hashlib.sha256(password.reveal().encode()).hexdigest()
    text = f"user default off resetpass ~* &* +@all\nuser {ADMIN} on #{word} ~* &* +@all\n".encode()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        info = tarfile.TarInfo(USERS)
        info.size, info.mode = len(text), 0o644
        tar.addfile(info, io.BytesIO(text))
    return buffer.getvalue()


def network_body(instance: str) -> dict[str, Any]:
    """A bridge whose containers do not reach each other: each is spoken to at the port it publishes."""
    return {
        "Name": network_of(instance), "Driver": "bridge", "CheckDuplicate": True, "Labels": {INSTANCE: instance},
        "Options": {"com.docker.network.bridge.enable_icc": "false"},
    }  # fmt: skip


def refuse_unsafe(body: Mapping[str, Any]) -> None:
    """The last look before the call: only known fields, each with a hardened value. Raises `InternalFault`."""
    host: Mapping[str, Any] = body["HostConfig"]
    faults = [f"field {key}" for key in sorted((body.keys() - _BODY_KEYS) | (host.keys() - _HOST_KEYS))]
    faults += [f"missing {key}" for key in sorted(_HOST_KEYS - host.keys())]
    faults = faults or _faults(body, host)
    if faults:
        raise InternalFault("refused to create an unsafe container of storage: " + ", ".join(faults))


def _faults(body: Mapping[str, Any], host: Mapping[str, Any]) -> list[str]:
    bindings = [binding for each in host["PortBindings"].values() for binding in each]
    rules = {
        "another network": host["NetworkMode"].startswith("codeb_storage_"),
        "not published at one address alone": len(bindings) == 1 and _one_address(bindings[0].get("HostIp", "")),
        "published port out of range": all(0 < int(each["HostPort"]) < 65536 for each in bindings),
        "mounts more than its volume": [each["Type"] for each in host["Mounts"]] == ["volume"],
        "capabilities not all dropped": host["CapDrop"] == ["ALL"],
        "capability outside the short list": set(host["CapAdd"]) <= SAFE_CAPABILITIES,
        "new privileges": host["SecurityOpt"] == ["no-new-privileges"],
        "no memory limit": host["Memory"] > 0 and host["MemorySwap"] == host["Memory"],
        "no processor limit": host["NanoCpus"] > 0,
        "no limit of processes": host["PidsLimit"] > 0,
        "image not pinned by id": str(body["Image"]).startswith("sha256:"),
        "a variable cut in two": not any("\0" in each or "\n" in each for each in body["Env"]),
    }
    return [fault for fault, holds in rules.items() if not holds]


def _one_address(text: str) -> bool:
    try:
        return not ipaddress.ip_address(text).is_unspecified
    except ValueError:
        return False


def is_ours(seen: Mapping[str, Any], instance: str, storage_id: str | None = None) -> bool:
    """Whether an inspected container, volume or network is this installation's, and this storage's."""
    found = seen.get("Config", seen).get("Labels") or {}
    return bool(found.get(INSTANCE) == instance) and storage_id in (None, found.get(STORAGE))


def instance_of(storage_id: str, name: str, seen: Mapping[str, Any] | None, data: bool) -> Instance:
    if seen is None:
        return Instance(storage_id, name, there=False, running=False, kept=False, data=data)
    state = seen["State"]
    running = bool(state["Running"]) and not state.get("Restarting", False)
    return Instance(
        storage_id, container_name(seen), there=True, running=running,
        kept=(seen["HostConfig"].get("RestartPolicy") or {}).get("Name") not in (None, "", "no"), data=data,
        published=tuple(sorted({(address, port) for address, port, _ in bindings_of(seen)})),
        exit_code=None if running or never_started(seen) else int(state["ExitCode"]),
    )  # fmt: skip
