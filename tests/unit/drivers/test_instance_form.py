"""What Docker is asked for to run storage, and what is refused just before the call (S7, S11, S19, S20)."""

import io
import json
import tarfile
from typing import Any

import pytest

from codeb.drivers.instances import form
from codeb.errors import InternalFault
from codeb.model.instances import InstanceSpec, parse_instance
from codeb.model.names import Place
from codeb.model.secret import Secret
from codeb.model.storage import Kind

WORD = Secret("canary-4711")
PIN = "sha256:" + "a" * 64


def body(kind: Kind = Kind.POSTGRES, image: str = PIN, address: str = "192.0.2.7", **host: Any) -> dict[str, Any]:
    spec = InstanceSpec("sto_1", Place("shop", "production"), kind, "local", address, 5432, "postgres:15")
    made = form.body_of(spec, image, WORD, "house")
    return {**made, "HostConfig": {**made["HostConfig"], **host}}


@pytest.mark.parametrize("kind", Kind)
def test_what_is_asked_for_passes_the_last_look(kind: Kind) -> None:
    form.refuse_unsafe(body(kind))


BAD: dict[str, dict[str, Any]] = {
    "everywhere": {"address": "0.0.0.0"}, "everywhere, by IPv6": {"address": "::"}, "no address": {"address": ""},
    "a name": {"address": "localhost.example.com"}, "a tag": {"image": "postgres:15"},
    "a second port": {"PortBindings": {"5432/tcp": [{"HostIp": "192.0.2.7", "HostPort": "1"}] * 2}},
    "the host's network": {"NetworkMode": "host"}, "a folder of the host": {"Mounts": [{"Type": "bind", "Source": "/"}]},
    "a second mount": {"Mounts": [{"Type": "volume"}] * 2}, "capabilities": {"CapAdd": ["SYS_ADMIN"]},
    "none dropped": {"CapDrop": []}, "new privileges": {"SecurityOpt": []}, "no memory limit": {"Memory": 0, "MemorySwap": 0},
    "swap": {"MemorySwap": -1}, "no processor limit": {"NanoCpus": 0}, "no limit of processes": {"PidsLimit": 0},
    "privileged": {"Privileged": True},
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_anything_else_is_refused_without_its_secrets(name: str) -> None:
    with pytest.raises(InternalFault) as refused:
        form.refuse_unsafe(body(**BAD[name]))
    assert WORD.reveal() not in str(refused.value)


def test_a_field_that_is_missing_or_unknown_is_refused() -> None:
    short = body()
    del short["HostConfig"]["PidsLimit"]
    for each in (short, {**body(), "Hostname": "x"}, {**body(), "Env": ["A=1\nB=2"]}):
        with pytest.raises(InternalFault):
            form.refuse_unsafe(each)


def test_redis_gets_its_users_as_hashes_in_a_file_and_no_password_anywhere() -> None:
    with tarfile.open(fileobj=io.BytesIO(form.users_file(WORD))) as tar:
        (member,) = tar.getmembers()
        file = tar.extractfile(member)
        assert file is not None
        text = file.read().decode()
    assert member.name == "users.acl"
    assert text.splitlines()[0] == "user default off resetpass ~* &* +@all"
    assert WORD.reveal() not in text + json.dumps(body(Kind.REDIS))


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("shop-production-postgres", Place("shop", "production")), ("my-shop-pr-7-redis", Place("my-shop", "pr-7")),
        ("shop-production-blue", None), ("postgres", None), ("shop-postgres", None), ("x-production-mysql", None),
    ],
)  # fmt: skip
def test_a_name_stands_for_one_environment_or_none(name: str, place: Place | None) -> None:
    assert parse_instance(name) == place
