"""Plans are bound to what they were made from; secrets never print (S11)."""

import copy
import json
import pickle
from dataclasses import dataclass

import pytest

from codeb.model.names import Slot
from codeb.model.plans import plan_id
from codeb.model.secret import Secret
from codeb.model.specs import UnitSpec


def test_the_same_gives_the_same_whatever_the_order() -> None:
    assert plan_id("t", {"a": 1, "b": 2}, {"x": 1}) == plan_id("t", {"b": 2, "a": 1}, {"x": 1})


@pytest.mark.parametrize(
    "other", [("u", {"a": 1}, {"x": 1}), ("t", {"a": 2}, {"x": 1}), ("t", {"a": 1}, {"x": 2}), ("t", {"a": "1"}, {"x": 1})]
)
def test_anything_that_moved_gives_another(other: tuple[str, dict[str, object], dict[str, object]]) -> None:
    assert plan_id(*other) != plan_id("t", {"a": 1}, {"x": 1})


def test_a_secret_shows_nothing_but_by_reveal() -> None:
    @dataclass
    class Holder:
        it: Secret

    secret = Secret("hunter2")
    shown = [
        str(secret),
        repr(secret),
        f"{secret}",
        f"{secret!s:>20}",
        "{}".format(secret),  # noqa: UP032  every way of printing
        repr(Holder(secret)),
        repr({"a": [secret]}),
    ]
    assert not [text for text in shown if "hunter2" in text]
    assert secret.reveal() == "hunter2"
    assert secret == Secret("hunter2")
    assert secret != Secret("x")
    for leak in (lambda: pickle.dumps(secret), lambda: json.dumps(secret), lambda: copy.copy(secret)):
        with pytest.raises(TypeError):
            leak()


def test_the_environment_of_a_container_is_not_printed() -> None:
    spec = UnitSpec("n", "p", "e", Slot.BLUE, "d", "o", "1", "i", 1, 2, "net", env=(("TOKEN", "hunter2"),))
    assert "hunter2" not in f"{spec} {spec!r}"
