"""What is seen of a container that somebody else made, and what is said of it."""

from dataclasses import replace

import pytest

from codeb.errors import Conflict, InvalidParams
from codeb.model.guests import Binding, Guest, binding_of, slot_for, taken_env, version_of, warnings_of
from codeb.model.names import Place, Slot
from codeb.model.secret import Secret
from codeb.model.specs import Limits

EVERYWHERE = "0.0.0.0"
GUEST = Guest(
    "a" * 64, "web", True, "web:1", "sha256:b", "sha256:c", bindings=(Binding("127.0.0.1", 8080, 3000),), memory_mb=256, cpus=1.0
)
PLACE = Place("shop", "production")
PORTS = ((Slot.BLUE, 4100), (Slot.GREEN, 4101))


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("web:1.4.2", "1.4.2"), ("host:5000/team/web:7", "7"), ("web", "latest"), ("host:5000/web", "latest"),
        ("sha256:" + "a" * 64, "adopted"), ("web@sha256:" + "a" * 64, "adopted"), ("web:1..2", "adopted"),
    ],
)  # fmt: skip
def test_the_version_is_the_tag(image: str, version: str) -> None:
    assert version_of(image) == version


def test_the_port_is_the_only_one_or_the_one_that_is_named() -> None:
    assert binding_of(GUEST, None) == binding_of(GUEST, 3000) == GUEST.bindings[0]
    both = replace(GUEST, bindings=(Binding(EVERYWHERE, 80, 3000), Binding("::", 80, 3000)))
    assert binding_of(both, None).port == 80, "one port on two families is one"
    two = replace(GUEST, bindings=(*GUEST.bindings, Binding("127.0.0.1", 9090, 9090)))
    assert binding_of(two, 9090).port == 9090
    with pytest.raises(InvalidParams):
        binding_of(two, None)
    with pytest.raises(Conflict) as refused:
        binding_of(replace(GUEST, bindings=(Binding("192.0.2.7", 80, 3000),)), None)
    assert refused.value.code == "not_on_loopback"


def test_its_slot_is_that_of_its_port_then_of_its_name_then_blue() -> None:
    assert slot_for(GUEST, PLACE, PORTS, 8080) is Slot.BLUE
    assert slot_for(GUEST, PLACE, PORTS, 4101) is Slot.GREEN
    assert slot_for(replace(GUEST, name="shop-production-green"), PLACE, PORTS, 8080) is Slot.GREEN
    for name, port in (
        ("shop-production-green", 4100), ("blog-production-blue", 8080), ("shop-staging-blue", 8080),
        ("shop-production-blue.kept", 8080),
    ):  # fmt: skip
        with pytest.raises(Conflict) as refused:
            slot_for(replace(GUEST, name=name), PLACE, PORTS, port)
        assert refused.value.code == "name_reserved"


def test_variables_that_no_environment_may_have_are_left_out_by_name() -> None:
    said = {"A": "x=y\n", "PORT": "3000", "CODEB_KEY": "1", "A B": "1", "LONG": "x" * 40_000}
    values, left = taken_env(replace(GUEST, env=tuple((name, Secret(text)) for name, text in said.items())))
    assert values == {"A": "x=y\n"}
    assert left == ("A B", "CODEB_KEY", "LONG", "PORT")


def test_nothing_is_warned_of_what_the_next_container_has_too() -> None:
    assert warnings_of(GUEST, Limits(), GUEST.bindings[0], keep_env=False) == []


def test_everything_that_will_be_otherwise_is_warned_of() -> None:
    odd = replace(
        GUEST, bindings=(Binding(EVERYWHERE, 8080, 3000), Binding("127.0.0.1", 9090, 9090)), memory_mb=4096, cpus=4.0,
        env=(("A", Secret("secret-4711")),), composed="site", lost=("the volume data at /data",),
    )  # fmt: skip
    said = warnings_of(odd, Limits(), odd.bindings[0], keep_env=False)
    for words in (
        "8080 beyond 127.0.0.1", "publishes no 9090", "the volume data at /data", "4096 MiB", "4 CPUs", "only what env_set says",
        "compose (site)",
    ):  # fmt: skip
        assert any(words in each for each in said), words
    assert "secret-4711" not in str(said) + repr(odd)
    assert not any("env_set" in each for each in warnings_of(odd, Limits(), odd.bindings[0], keep_env=True))
