"""One tool, three entries, the same facts: every tool, called alike over HTTP, by `we` and by MCP, answers the same.

Each call finds a CodeB of its own in the same state, at the same instant of a clock that stands still.

Shows S25.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from codeb.model.secret import Secret
from codeb.tools.catalog import BY_NAME
from tests.entry.doors import Doors, opened, params
from tests.kit import Still, add_key, begin, still

pytestmark = pytest.mark.anyio

OF_THE_CALL = {"duration", "timestamp", "correlationId"}
MADE: list[tuple[Still, Secret]] = []


async def shop() -> tuple[Still, Secret]:
    if not MADE:
        async with begin("grace") as rig:
            key = await add_key(rig)
            MADE.append((still(rig), key))
    return MADE[0]


@pytest.fixture(autouse=True)
def nobody_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`we` finds no settings and no key of the person who runs the tests."""
    monkeypatch.chdir(tmp_path)
    for name in ("HOME", "CODEB_HOME"):
        monkeypatch.setenv(name, str(tmp_path))


def facts(body: dict[str, Any]) -> dict[str, Any]:
    """What it says, without what belongs to the call and without the secrets it made, which are new each time."""
    kept = json.dumps({name: value for name, value in body.items() if name not in OF_THE_CALL})
    return dict(json.loads(re.sub(r"\bcodeb_[a-z0-9-]+_[a-z]+_[\w-]{32}|\b[0-9a-f]{16}\b", "…", kept)))


async def by_http(doors: Doors, name: str, said: dict[str, Any], key: Secret) -> dict[str, Any]:
    answer = await doors.client.post("/api/tool", json={"tool": name, "params": said}, headers={"X-API-Key": key.reveal()})
    return dict(answer.json())


async def by_we(doors: Doors, name: str, said: dict[str, Any], key: Secret) -> dict[str, Any]:
    _, _, printed = await doors.command(["tool", name, json.dumps(said), "--json"], key)
    return dict(json.loads(printed))


async def by_mcp(doors: Doors, name: str, said: dict[str, Any], key: Secret) -> dict[str, Any]:
    """What a model reads is one of two: the data, or the text. Both have to say it."""
    answer = await doors.message("tools/call", {"name": name, "arguments": said}, key)
    told = answer.json()["result"]
    (content,) = told["content"]
    data = dict(told["structuredContent"])
    sentence = data["summary"] if data["success"] else data["error"]
    assert " ".join(sentence.split()) in content["text"]
    assert told["isError"] is not data["success"]
    return data


ENTRIES = {"http": by_http, "we": by_we, "mcp": by_mcp}


async def asked(name: str, said: dict[str, Any]) -> dict[str, dict[str, Any]]:
    state, key = await shop()
    answers = {}
    for entry, ask in ENTRIES.items():
        async with opened(state) as doors:
            answers[entry] = facts(await ask(doors, name, said, key))
    return answers


@pytest.mark.parametrize("name", BY_NAME)
async def test_a_call_answers_the_same_at_every_entry(name: str) -> None:
    answers = await asked(name, params(BY_NAME[name]))
    told = answers["http"]
    assert told["success"] is False or told["summary"]
    assert {entry: each for entry, each in answers.items() if each != told} == {}


@pytest.mark.parametrize("name", BY_NAME)
async def test_a_wrong_word_is_refused_alike_at_every_entry(name: str) -> None:
    answers = await asked(name, {**params(BY_NAME[name]), "evnironment": "staging"})
    told = answers["http"]
    assert told["success"] is False and "evnironment" in json.dumps(told)
    assert {entry: each for entry, each in answers.items() if each != told} == {}
