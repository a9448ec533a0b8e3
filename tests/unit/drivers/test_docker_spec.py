"""The pure parts of the Docker drivers: the create body, the last look at it, and what is read back. Shows S7."""

import asyncio
import copy
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from codeb.drivers.images.docker import registry_digest, repository
from codeb.drivers.runtime.docker_client import negotiate
from codeb.drivers.runtime.docker_logs import frames, log_lines
from codeb.drivers.runtime.docker_spec import bindings_of, container_body, labels, network_body, refuse_unsafe, unit_of
from codeb.drivers.runtime.log_cursor import moment
from codeb.errors import InternalFault, Unavailable
from codeb.model.names import Slot
from codeb.model.specs import Health, LogLine, UnitSpec

SPEC = UnitSpec(
    name="shop-production-blue",
    project="shop",
    environment="production",
    slot=Slot.BLUE,
    deployment_id="dep_1",
    operation_id="op_1",
    version="1.4.2",
    image_id="sha256:" + "a" * 64,
    host_port=4100,
    container_port=3000,
    network="codeb-shop",
    env=(("TOKEN", "canary-5b1d"), ("ODD", "a=b\n'\"# ")),
)


def body() -> dict[str, Any]:
    return copy.deepcopy(container_body(SPEC, "inst"))


def test_the_body_is_built_from_the_spec_and_passes_the_last_look() -> None:
    built = body()
    refuse_unsafe(built)
    assert built["Image"] == SPEC.image_id
    assert built["Env"] == ["TOKEN=canary-5b1d", "ODD=a=b\n'\"# "]
    assert built["HostConfig"]["PortBindings"] == {"3000/tcp": [{"HostIp": "127.0.0.1", "HostPort": "4100"}]}
    assert built["HostConfig"]["RestartPolicy"] == {"Name": "no"}
    assert built["HostConfig"]["Memory"] == built["HostConfig"]["MemorySwap"] == 536_870_912


def test_no_secret_is_anywhere_but_in_the_environment() -> None:
    built = body()
    del built["Env"]
    assert "canary" not in json.dumps(built)
    assert "canary" not in json.dumps(labels(SPEC, "inst"))


def _host(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda built: built["HostConfig"].update({key: value})


def _port(**binding: str) -> Callable[[dict[str, Any]], None]:
    whole = {"HostIp": "127.0.0.1", "HostPort": "4100", **binding}
    return _host("PortBindings", {"3000/tcp": [whole]})


UNSAFE: dict[str, Callable[[dict[str, Any]], None]] = {
    "privileged": _host("Privileged", True),
    "host network": _host("NetworkMode", "host"),
    "another container's network": _host("NetworkMode", "container:abc"),
    "the shared default bridge": _host("NetworkMode", "bridge"),
    "the default network": _host("NetworkMode", "default"),
    "no network named": _host("NetworkMode", ""),
    "a bind": _host("Binds", ["/:/host"]),
    "a mount": _host("Mounts", [{"Type": "bind", "Source": "/", "Target": "/host"}]),
    "volumes from": _host("VolumesFrom", ["other"]),
    "devices": _host("Devices", [{"PathOnHost": "/dev/sda"}]),
    "the host's processes": _host("PidMode", "host"),
    "the host's ipc": _host("IpcMode", "host"),
    "the host's users": _host("UsernsMode", "host"),
    "a cgroup parent": _host("CgroupParent", "/"),
    "a runtime": _host("Runtime", "other"),
    "publish all": _host("PublishAllPorts", True),
    "published everywhere": _port(HostIp="0.0.0.0"),
    "published on no address": _port(HostIp=""),
    "published on IPv6": _port(HostIp="::1"),
    "a random port": _port(HostPort="0"),
    "a port too high": _port(HostPort="65536"),
    "capabilities kept": _host("CapDrop", []),
    "a dangerous capability": _host("CapAdd", ["SYS_ADMIN"]),
    "all capabilities": _host("CapAdd", ["ALL"]),
    "seccomp off": _host("SecurityOpt", ["no-new-privileges", "seccomp=unconfined"]),
    "new privileges": _host("SecurityOpt", []),
    "no memory limit": _host("Memory", 0),
    "swap": _host("MemorySwap", -1),
    "no cpu limit": _host("NanoCpus", 0),
    "no pids limit": _host("PidsLimit", 0),
    "unlimited pids": _host("PidsLimit", -1),
    "an executable /tmp": _host("Tmpfs", {"/tmp": "rw,exec"}),
    "no tmpfs": _host("Tmpfs", {}),
    "a tmpfs elsewhere": _host("Tmpfs", {"/tmp": "noexec,nosuid", "/run": "exec"}),
    "an early restart policy": _host("RestartPolicy", {"Name": "always"}),
    "a missing limit": lambda built: built["HostConfig"].pop("PidsLimit"),
    "no host part": lambda built: built.pop("HostConfig"),
    "a user of its own": lambda built: built.update({"User": "0"}),
    "a command of its own": lambda built: built.update({"Cmd": ["sh"]}),
    "an image by tag": lambda built: built.update({"Image": "shop:latest"}),
    "a variable without a name": lambda built: built.update({"Env": ["=x"]}),
    "a variable without a value": lambda built: built.update({"Env": ["PATH"]}),
    "a NUL in a variable": lambda built: built.update({"Env": ["A=canary\0x"]}),
}


@pytest.mark.parametrize("name", UNSAFE)
def test_the_last_look_refuses(name: str) -> None:
    built = body()
    UNSAFE[name](built)
    with pytest.raises(InternalFault) as refused:
        refuse_unsafe(built)
    assert "canary" not in str(refused.value)


def test_a_network_binds_to_loopback_and_names_its_owner() -> None:
    built = network_body("codeb-shop", "shop", "inst")
    assert built["Options"] == {"com.docker.network.bridge.host_binding_ipv4": "127.0.0.1"}
    assert (built["Labels"]["codeb.instance"], built["Labels"]["codeb.project"]) == ("inst", "shop")


# --- what is read back -------------------------------------------------------------------------------------------


def seen(**state: Any) -> dict[str, Any]:
    return {
        "Id": "c1",
        "Name": "/shop-production-blue",
        "Image": "sha256:aa",
        "RestartCount": 2,
        "State": {"Status": "running", "Running": True, "Restarting": False, "ExitCode": 0, **state},
        "Config": {"Labels": labels(SPEC, "inst")},
        "HostConfig": {
            "NetworkMode": "codeb-shop", "PortBindings": {"3000/tcp": [{"HostIp": "127.0.0.1", "HostPort": "4100"}]},
        },
        "NetworkSettings": {"Networks": {"codeb-shop": {"IPAddress": "172.30.0.2"}, "x": {"IPAddress": "10.0.0.1"}}},
    }  # fmt: skip


def test_a_unit_is_read_from_an_inspection() -> None:
    unit = unit_of(seen(Health={"Status": "healthy"}), "inst")
    assert (unit.name, unit.running, unit.exit_code, unit.restarts) == ("shop-production-blue", True, None, 2)
    assert (unit.health, unit.address, unit.published) == (Health.HEALTHY, "172.30.0.2", (("127.0.0.1", 4100),))
    assert unit.deployment_id == "dep_1"


def test_a_unit_of_another_installation_has_no_labels() -> None:
    unit = unit_of(seen(), "another")
    assert (unit.project, unit.slot, unit.deployment_id, unit.address) == ("", "", "", None)


def test_exit_codes_only_of_what_ran_and_ended() -> None:
    assert unit_of(seen(Status="exited", Running=False, ExitCode=0), "inst").exit_code == 0
    assert unit_of(seen(Status="created", Running=False, ExitCode=128), "inst").exit_code is None
    looping = unit_of(seen(Status="restarting", Restarting=True, ExitCode=7), "inst")
    assert (looping.running, looping.exit_code) == (False, 7)


def test_bindings_tell_every_address_range_and_protocol() -> None:
    odd = seen()
    odd["HostConfig"]["PortBindings"] = {
        "80/tcp": [{"HostIp": "", "HostPort": "8000-8001"}], "53/udp": [{"HostPort": "53"}], "1/tcp": [{"HostPort": ""}],
        "2/tcp": None,
    }  # fmt: skip
    assert sorted(bindings_of(odd)) == [("0.0.0.0", 53, "udp"), ("0.0.0.0", 8000, "tcp"), ("0.0.0.0", 8001, "tcp")]
    odd["NetworkSettings"]["Ports"] = {"1/tcp": [{"HostIp": "0.0.0.0", "HostPort": "49153"}], "80/tcp": None}
    assert ("0.0.0.0", 49153, "tcp") in bindings_of(odd)


# --- versions, cursors, frames, digests --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("highest", "lowest", "chosen"),
    [("1.41", "1.12", "v1.41"), ("1.47", "1.24", "v1.47"), ("1.52", "1.44", "v1.52"), ("1.60", "1.44", "v1.52")],
)
def test_the_newest_common_version_is_spoken(highest: str, lowest: str, chosen: str) -> None:
    assert negotiate({"ApiVersion": highest, "MinAPIVersion": lowest}) == chosen


@pytest.mark.parametrize(("highest", "lowest"), [("1.40", "1.12"), ("1.90", "1.80")])
def test_without_a_common_version_nothing_is_spoken(highest: str, lowest: str) -> None:
    with pytest.raises(Unavailable) as refused:
        negotiate({"ApiVersion": highest, "MinAPIVersion": lowest})
    assert refused.value.code == "docker_version"


def test_moments_keep_nanoseconds_and_zones() -> None:
    assert moment("1970-01-01T00:00:01.5Z") == (1, 500_000_000)
    assert moment("1970-01-01T01:00:00.000000001+01:00") == (0, 1)
    assert moment("2026-01-01T00:00:00.123456788Z") < moment("2026-01-01T00:00:00.123456789Z")
    for text in ("", "yesterday", "2026-01-01", "2026-01-01T00:00:00.1234567890Z", "2026-13-01T00:00:00Z"):
        with pytest.raises(ValueError, match=r".+"):
            moment(text)


def frame(stream: int, text: bytes) -> bytes:
    return bytes([stream, 0, 0, 0]) + len(text).to_bytes(4, "big") + text


def reader(*parts: bytes) -> asyncio.StreamReader:
    stream = asyncio.StreamReader()
    stream.feed_data(b"".join(parts))
    stream.feed_eof()
    return stream


STAMPS = [f"2026-01-01T00:00:00.00000000{number}Z" for number in range(4)]


@pytest.mark.anyio
async def test_log_lines_keep_their_stream_and_cut_continuations() -> None:
    first, second, third, _ = (stamp.encode() for stamp in STAMPS)
    stream = reader(
        frame(1, first + b" long"), frame(2, second + b" err\n"), frame(1, first + b" rest"),
        frame(1, first + b" end\n"), frame(1, third + b" \xff\n"),
    )  # fmt: skip
    assert [line async for line in log_lines(stream, None)] == [
        LogLine(STAMPS[0], "stdout", "long"), LogLine(STAMPS[1], "stderr", "err"), LogLine(STAMPS[2], "stdout", "�"),
    ]  # fmt: skip


@pytest.mark.anyio
async def test_log_lines_start_after_the_cursor() -> None:
    stream = reader(*(frame(1, f"{stamp} {stamp[-2]}\n".encode()) for stamp in STAMPS))
    assert [line.text async for line in log_lines(stream, moment(STAMPS[1]))] == ["2", "3"]


@pytest.mark.anyio
@pytest.mark.parametrize("cut", [3, 10])
async def test_a_frame_that_breaks_off_is_an_error(cut: int) -> None:
    with pytest.raises(asyncio.IncompleteReadError):
        [each async for each in frames(reader(frame(1, b"whole line\n")[:cut]))]


@pytest.mark.parametrize(
    ("reference", "known", "digest"),
    [
        ("127.0.0.1:5000/shop:1", ["127.0.0.1:5000/shop@sha256:1"], "sha256:1"),
        ("127.0.0.1:5000/shop", ["10.0.0.1:5000/shop@sha256:2", "127.0.0.1:5000/shop@sha256:1"], "sha256:1"),
        ("127.0.0.1:5000/shop:1", ["127.0.0.1:5000/shop2@sha256:2"], "sha256:id"),
        ("docker.io/library/thing:1", ["thing@sha256:3"], "sha256:3"),
        ("a.example/x@sha256:9", [], "sha256:9"),
        ("shop", [], "sha256:id"),
    ],
)
def test_the_digest_is_the_one_of_the_references_repository(reference: str, known: list[str], digest: str) -> None:
    assert registry_digest(reference, {"Id": "sha256:id", "RepoDigests": known}) == digest


def test_repositories_keep_their_registrys_port() -> None:
    assert repository("127.0.0.1:5000/a/b:1@sha256:0") == "127.0.0.1:5000/a/b"
    assert repository("127.0.0.1:5000/a/b") == "127.0.0.1:5000/a/b"
    assert repository("shop:1") == "shop"


def test_the_spec_may_relax_only_within_the_short_list() -> None:
    wider = replace(SPEC, limits=replace(SPEC.limits, capabilities=("CHOWN", "NET_RAW")))
    with pytest.raises(InternalFault, match="capability"):
        refuse_unsafe(container_body(wider, "inst"))
