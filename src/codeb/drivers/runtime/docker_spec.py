"""What we ask Docker for and how we read what it says: pure functions between model values and Engine API bodies."""

from collections.abc import Mapping
from typing import Any

from codeb.errors import InternalFault
from codeb.model.specs import Health, Unit, UnitSpec

LOOPBACK = "127.0.0.1"
INSTANCE = "codeb.instance"
MIB = 1024 * 1024

SAFE_CAPABILITIES = frozenset({
    "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID",
})  # fmt: skip
"""What a spec may add back: Docker's own default list less raw sockets, device nodes, chroot and the audit log."""

_BODY_KEYS = frozenset({"Image", "Env", "Labels", "ExposedPorts", "StopTimeout", "HostConfig"})
_HOST_KEYS = frozenset({
    "NetworkMode", "PortBindings", "RestartPolicy", "Memory", "MemorySwap", "NanoCpus", "PidsLimit",
    "CapDrop", "CapAdd", "SecurityOpt", "Tmpfs", "LogConfig", "Init",
})  # fmt: skip


def labels(spec: UnitSpec, instance: str) -> dict[str, str]:
    """The labels of a container. Never a secret: anybody who may list containers reads them."""
    return {
        "codeb.managed": "true",
        INSTANCE: instance,
        "codeb.project": spec.project,
        "codeb.environment": spec.environment,
        "codeb.slot": spec.slot.value,
        "codeb.deployment": spec.deployment_id,
        "codeb.operation": spec.operation_id,
        "codeb.version": spec.version,
    }


def container_body(spec: UnitSpec, instance: str) -> dict[str, Any]:
    """The body of `POST /containers/create`, from our own fields only.

    Docker's small init runs as process 1 (`Init`): it reaps orphans, and a program without a SIGTERM handler ends at
    once instead of being killed after the whole stop time, because only process 1 ignores signals by default.
    """
    port = f"{spec.container_port}/tcp"
    memory = spec.limits.memory_mb * MIB
    return {
        "Image": spec.image_id,
        "Env": [f"{key}={value}" for key, value in spec.env],
        "Labels": labels(spec, instance),
        "ExposedPorts": {port: {}},
        "StopTimeout": spec.limits.stop_seconds,
        "HostConfig": {
            "NetworkMode": spec.network,
            "PortBindings": {port: [{"HostIp": LOOPBACK, "HostPort": str(spec.host_port)}]},
            "RestartPolicy": {"Name": "no"},
            "Memory": memory,
            # Equal to Memory: without it a container may swap as much again, and the limit is none.
            "MemorySwap": memory,
            "NanoCpus": round(spec.limits.cpus * 1_000_000_000),
            "PidsLimit": spec.limits.pids,
            "CapDrop": ["ALL"],
            "CapAdd": list(spec.limits.capabilities),
            "SecurityOpt": ["no-new-privileges"],
            "Tmpfs": {"/tmp": f"rw,noexec,nosuid,nodev,size={spec.limits.tmp_mb}m,mode=1777"},  # noqa: S108 - a path inside the container
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}},
            "Init": True,
        },
    }


def network_body(name: str, project: str, instance: str) -> dict[str, Any]:
    """The body of `POST /networks/create`: a bridge whose published ports land on loopback even when nobody says so."""
    return {
        "Name": name,
        "Driver": "bridge",
        "CheckDuplicate": True,
        "Labels": {"codeb.managed": "true", INSTANCE: instance, "codeb.project": project},
        "Options": {"com.docker.network.bridge.host_binding_ipv4": LOOPBACK},
    }


def refuse_unsafe(body: Mapping[str, Any]) -> None:
    """The last look before the call: only known fields, each with a hardened value. Raises `InternalFault`."""
    host: Mapping[str, Any] = body.get("HostConfig", {})
    faults = [f"field {key}" for key in sorted((body.keys() - _BODY_KEYS) | (host.keys() - _HOST_KEYS))]
    faults += [f"missing {key}" for key in sorted(_HOST_KEYS - host.keys())]
    if not faults:
        faults = _host_faults(host) + _env_faults(body["Env"])
        if not str(body["Image"]).startswith("sha256:"):
            faults.append("image not pinned by id")
    if faults:
        raise InternalFault("refused to create an unsafe container: " + ", ".join(faults))


def _host_faults(host: Mapping[str, Any]) -> list[str]:
    network = str(host["NetworkMode"])
    bindings = [binding for each in host["PortBindings"].values() for binding in each]
    tmp = str(host["Tmpfs"].get("/tmp", "")).split(",")  # noqa: S108 - a path inside the container
    rules = {
        "network of the host, of another container or of Docker's default": (
            network not in ("", "host", "none", "bridge", "default") and ":" not in network
        ),
        f"port published elsewhere than on {LOOPBACK}": all(each.get("HostIp") == LOOPBACK for each in bindings),
        "published port out of range": all(0 < int(each["HostPort"]) < 65536 for each in bindings),
        "capabilities not all dropped": host["CapDrop"] == ["ALL"],
        "capability outside the short list": set(host["CapAdd"]) <= SAFE_CAPABILITIES,
        "new privileges or an own security profile": host["SecurityOpt"] == ["no-new-privileges"],
        "no memory limit": host["Memory"] > 0 and host["MemorySwap"] == host["Memory"],
        "no processor limit": host["NanoCpus"] > 0,
        "no limit of processes": host["PidsLimit"] > 0,
        "/tmp executable": set(host["Tmpfs"]) == {"/tmp"} and {"noexec", "nosuid"} <= set(tmp),  # noqa: S108 - as above
        "restart policy before the container is proven": host["RestartPolicy"] == {"Name": "no"},
    }
    return [fault for fault, holds in rules.items() if not holds]


def _env_faults(env: list[str]) -> list[str]:
    """Says which position is wrong, never its text: it may be a secret."""
    return [
        f"environment entry {number}"
        for number, entry in enumerate(env)
        if "\0" in entry or "=" not in entry[1:] or entry.startswith("=")
    ]


def is_ours(seen: Mapping[str, Any], instance: str) -> bool:
    """Whether an inspected container or network carries this installation's label."""
    found = seen.get("Config", seen).get("Labels") or {}
    return bool(found.get(INSTANCE) == instance)


def container_name(seen: Mapping[str, Any]) -> str:
    return str(seen["Name"]).removeprefix("/")


def never_started(seen: Mapping[str, Any]) -> bool:
    return bool(seen["State"]["Status"] == "created")


def unit_of(seen: Mapping[str, Any], instance: str) -> Unit:
    """A container as `GET /containers/{id}/json` describes it. One between two restarts is not running."""
    state = seen["State"]
    running = bool(state["Running"]) and not state.get("Restarting", False)
    ours = is_ours(seen, instance)
    found = (seen["Config"].get("Labels") or {}) if ours else {}
    networks = (seen.get("NetworkSettings") or {}).get("Networks") or {}
    own = networks.get(seen["HostConfig"].get("NetworkMode"), {}) if ours else {}
    return Unit(
        id=seen["Id"],
        name=container_name(seen),
        running=running,
        image_id=seen["Image"],
        health=Health((state.get("Health") or {}).get("Status") or "none"),
        exit_code=None if running or never_started(seen) else int(state["ExitCode"]),
        restarts=int(seen.get("RestartCount", 0)),
        started="" if never_started(seen) else str(state.get("StartedAt", "")),
        restarting=bool(state.get("Restarting", False)),
        kept=(seen["HostConfig"].get("RestartPolicy") or {}).get("Name") not in (None, "", "no"),
        address=own.get("IPAddress") or None,
        project=found.get("codeb.project", ""),
        environment=found.get("codeb.environment", ""),
        slot=found.get("codeb.slot", ""),
        deployment_id=found.get("codeb.deployment", ""),
        operation_id=found.get("codeb.operation", ""),
        version=found.get("codeb.version", ""),
        published=tuple(sorted({(address, port) for address, port, _ in bindings_of(seen)})),
    )


def bindings_of(seen: Mapping[str, Any]) -> list[tuple[str, int, str]]:
    """(host address, host port, protocol) that an inspected container publishes, or would when started."""
    active = (seen.get("NetworkSettings") or {}).get("Ports") or {}
    wanted = (seen.get("HostConfig") or {}).get("PortBindings") or {}
    found = []
    for inner, bound in ({**wanted, **{port: bound for port, bound in active.items() if bound}}).items():
        for binding in bound or ():
            for port in _port_range(binding.get("HostPort", "")):
                found.append((binding.get("HostIp") or "0.0.0.0", port, inner.rpartition("/")[2] or "tcp"))  # noqa: S104 - reads a binding
    return found


def _port_range(text: str) -> range:
    """`4100`, `4100-4103`; an empty one means that Docker picks a free port at start: none can be named."""
    first, _, last = text.partition("-")
    if not first or first == "0":
        return range(0)
    return range(int(first), int(last or first) + 1)
