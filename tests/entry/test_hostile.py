"""The corpus itself: how many hostile values there are, and that `we` hands each on as it is, or not at all (S3)."""

import json
from pathlib import Path

import pytest

from tests.entry import hostile
from tests.unit.entry.cli.conftest import Fake, We, fake, here, we

__all__ = ["fake", "here", "we"]

LISTS = ("NOT_STRINGS", "NOT_INTEGERS", "NOT_NUMBERS", "NOT_BOOLS", "NOT_LISTS")
WORDS = sorted({*hostile.STRINGS, *(word for words in hostile.ONLY.values() for word in words)})


def test_the_corpus_has_four_hundred_different_entries() -> None:
    strings = {("string", word) for word in WORDS}
    others = {(name, repr(value)) for name in LISTS for value in getattr(hostile, name)}
    bodies = {("body", body) for body in hostile.MALFORMED.values()}
    assert len(strings | others | bodies) >= 400
    assert {field.name for field in hostile.fields() if field.kind == "string"} & set(hostile.ONLY)


def sendable(word: str) -> bool:
    """What a system hands to a program as an argument: no NUL, at most 128 KiB, in some encoding."""
    return "\0" not in word and len(word) < 100_000


@pytest.mark.parametrize("command", ["project get --project={}", "logs --project=shop --grep={}", "project create --project={}"])
def test_we_sends_a_word_as_it_is_or_refuses_it(fake: Fake, we: We, here: Path, command: str) -> None:
    """Nothing of it is executed, and it never ends in a traceback."""
    for tool in ("project_get", "logs", "project_create"):
        fake.says(tool, {"success": False, "error": "no", "code": "invalid_params", "hint": "", "details": {}}, 400)
    sent = refused = 0
    for word in filter(sendable, WORDS):
        fake.calls.clear()
        said = we(*(part.replace("{}", word) for part in command.split(" ")))
        assert said.code in (1, 2, 4), (word, said)
        assert "Traceback" not in said.out + said.err, word
        if fake.calls:
            sent += 1
            assert word in [each for _, params, _ in fake.calls for each in params.values()], (word, json.dumps(fake.calls[0][1]))
        else:
            refused += 1
            assert said.code == 2, (word, said)
    assert sent > 200, (sent, refused)
    assert [each.name for each in here.iterdir()] == [".git"]
    assert not Path(f"/tmp/{hostile.CANARY}").exists()
