"""Answers as they are written: the same JSON whatever is in them, and nothing that is no JSON."""

import json
from typing import Any

import pytest

from codeb.entry.http.wire import answered
from codeb.model.secret import Secret


def body(value: Any) -> bytes:
    return bytes(answered(200, {"value": value}, "req_1").body)


@pytest.mark.parametrize(
    "value", ["größe \u2028 🙂", 'a "b" \\ \n \0 \x7f', 1, -2.5, 1e-7, 10**30, None, True, [], {"a": [{"b": "c"}]}]
)
def test_what_was_said_is_read(value: Any) -> None:
    assert json.loads(body(value)) == {"value": value}


def test_letters_are_not_escaped() -> None:
    assert body("größe") == '{"value":"größe"}'.encode()


def test_half_characters_are_question_marks() -> None:
    assert body("a\ud800b") == b'{"value":"a?b"}'


def test_a_secret_is_not_written() -> None:
    with pytest.raises(TypeError):
        body(Secret("codeb_main_owner_0123"))
