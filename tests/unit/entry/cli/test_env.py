"""Environment variables on the command line: values come from a prompt, standard input or a file, never as an argument (S11)."""

import io
from pathlib import Path
from typing import Any

import pytest

from codeb.entry.cli import exits
from tests.unit.entry.cli.conftest import Fake, We

OK: dict[str, Any] = {"success": True, "summary": "shop production: version 1.", "next": [], "warnings": []}
WHERE = {"projectName": "shop"}
CANARY = "canary-s3cr3t"


def piped(monkeypatch: pytest.MonkeyPatch, raw: bytes) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(raw)))


@pytest.fixture(autouse=True)
def _ok(fake: Fake) -> None:
    for tool in ("env_set", "env_sync", "env_scan"):
        fake.says(tool, OK)


@pytest.mark.parametrize("raw", [b'it\'s "a"=#1', "한국어 🎉".encode(), b"two\nlines"])
def test_a_value_comes_from_standard_input(fake: Fake, we: We, monkeypatch: pytest.MonkeyPatch, raw: bytes) -> None:
    for ending in (b"", b"\n", b"\r\n"):
        piped(monkeypatch, raw + ending)
        assert we("env", "set", "A", "-p", "shop").code == exits.OK
        assert fake.asked("env_set")[-1] == {**WHERE, "values": {"A": raw.decode()}}


def test_a_file_is_taken_with_every_byte(fake: Fake, we: We, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "key.pem").write_bytes(b"-----\nabc=\n-----\n")
    assert we("env", "set", "KEY", "-f", "key.pem", "-p", "shop", "--unset", "OLD", "--force").code == exits.OK
    piped(monkeypatch, b"x\n")
    assert we("env", "set", "KEY", "-f", "-", "-p", "shop").code == exits.OK
    assert fake.asked("env_set") == [
        {**WHERE, "values": {"KEY": "-----\nabc=\n-----\n"}, "unset": ["OLD"], "force": True},
        {**WHERE, "values": {"KEY": "x\n"}},
    ]  # fmt: skip


def test_on_a_terminal_each_is_asked_for_unseen(fake: Fake, we: We, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    asked: list[tuple[str, bool]] = []

    def prompt(text: str, **how: Any) -> str:
        asked.append((text, how["hide_input"]))
        return f"{CANARY} {len(asked)}"

    monkeypatch.setattr("click.prompt", prompt)
    said = we("env", "set", "A", "B", "-p", "shop")
    assert asked == [("Value of A", True), ("Value of B", True)]
    assert fake.asked("env_set") == [{**WHERE, "values": {"A": f"{CANARY} 1", "B": f"{CANARY} 2"}}]
    assert CANARY not in said.out + said.err


def test_a_value_in_the_command_is_refused_without_being_repeated(fake: Fake, we: We) -> None:
    said = we("env", "set", f"TOKEN={CANARY}", "-p", "shop")
    assert said.code == exits.USAGE
    assert "`we env set TOKEN` asks for the value" in said.err
    assert CANARY not in said.out + said.err
    assert fake.calls == []
    for option in ("--values", "--env-content", "--content"):
        assert we("env", "set", "A", option, CANARY, "-p", "shop").code == exits.USAGE


@pytest.mark.parametrize(
    "words", [("set",), ("set", "A", "B"), ("set", "-f", ".env"), ("set", "A", "-f", "nope"), ("sync",), ("scan",)]
)
def test_what_cannot_be_told_is_a_question_of_usage(fake: Fake, we: We, monkeypatch: pytest.MonkeyPatch, words: Any) -> None:
    piped(monkeypatch, b"x")
    assert we("env", *words, "-p", "shop").code == exits.USAGE
    assert fake.calls == []


def test_variables_are_taken_out_without_a_value(fake: Fake, we: We, monkeypatch: pytest.MonkeyPatch) -> None:
    piped(monkeypatch, b"not read")
    assert we("env", "set", "--unset", "A", "--unset", "B", "-p", "shop").code == exits.OK
    assert fake.asked("env_set") == [{**WHERE, "unset": ["A", "B"]}]


@pytest.mark.parametrize("verb", ["sync", "scan"])
def test_a_whole_file_is_read_here(fake: Fake, we: We, here: Path, monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    text = "A='1\n2'\r\n# said\n"
    (here / ".env").write_bytes(text.encode())
    (here / "bad").write_bytes(b"A=\xff")
    assert we("env", verb, "-f", ".env", "-p", "shop", "-e", "staging").code == exits.OK
    piped(monkeypatch, text.encode())
    assert we("env", verb, "-f", "-", "-p", "shop", "-e", "staging").code == exits.OK
    if verb == "scan":
        assert we("env", "scan", "-p", "shop", "-e", "staging").code == exits.OK
    assert {str(each) for each in fake.asked(f"env_{verb}")} == {str({**WHERE, "environment": "staging", "envContent": text})}
    assert we("env", verb, "-f", "bad", "-p", "shop").code == exits.USAGE


def test_a_large_file_goes_by_the_tools_own_path(fake: Fake, we: We, here: Path) -> None:
    text = "# " + "x" * 2**20
    (here / ".env").write_text(text)
    assert we("env", "sync", "-f", ".env", "-p", "shop").code == exits.OK
    assert fake.asked("env_sync") == [{**WHERE, "envContent": text}]
