"""`we claude`: what it asks of the `claude` program, and that the key goes to it through a pipe and nowhere else (S11)."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from codeb.entry.cli import exits, plugin
from codeb.entry.version import VERSION
from tests.unit.entry.cli.conftest import Fake, We

KEY = "codeb_main_owner_test"
PROGRAM = """
import json, os, pathlib, sys
state = pathlib.Path(os.environ["HOME"]) / "claude.json"
fresh = {"calls": [], "market": None, "plugin": None, "values": {}, "broken": []}
said = json.loads(state.read_text()) if state.exists() else fresh
words, stdin = sys.argv[1:], "" if sys.stdin.isatty() else sys.stdin.read()
said["calls"].append({"words": words, "stdin": stdin, "env": dict(os.environ)})
code = 0
if any(words[: len(each)] == each for each in said["broken"]):
    print("it is broken\\x1b[2J", file=sys.stderr)
    code = 1
elif words == ["--version"]:
    print("2.1.329 (Claude Code)")
elif words[:3] == ["plugin", "marketplace", "add"]:
    said["market"] = words[3]
elif words[:3] == ["plugin", "marketplace", "remove"]:
    said.update(market=None, plugin=None, values={})
elif words[:3] == ["plugin", "marketplace", "list"]:
    print(json.dumps([{"name": "codeb", "path": said["market"]}] if said["market"] else []))
elif words[:2] == ["plugin", "install"]:
    said["plugin"] = said["plugin"] or {"id": words[2], "version": VERSION, "enabled": True}
elif words[:2] == ["plugin", "enable"]:
    said["plugin"]["enabled"] = True
elif words[:2] == ["plugin", "list"]:
    print(json.dumps([said["plugin"]] if said["plugin"] else []))
elif words[:2] == ["plugin", "configure"] and "--values-stdin" in words:
    said["values"] = json.loads(stdin)
elif words[:2] == ["plugin", "configure"]:
    print(json.dumps({"inputs": {"url": said["values"].get("url", ""), "api_key": ""}, "configured": sorted(said["values"])}))
else:
    code = 64
state.write_text(json.dumps(said))
sys.exit(code)
"""


@pytest.fixture
def person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Somebody whose PATH is a folder of ours alone."""
    home, tools = tmp_path / "person", tmp_path / "bin"
    home.mkdir(exist_ok=True)
    tools.mkdir()
    (tools / "python3").symlink_to(sys.executable)
    monkeypatch.setenv("PATH", str(tools))
    return home


@pytest.fixture
def program(person: Path, tmp_path: Path) -> Path:
    """A `claude` that keeps what it was told; gives the file of it."""
    path = tmp_path / "bin" / "claude"
    path.write_text(f"#!{sys.executable}\nVERSION = {VERSION!r}\n{PROGRAM}")
    path.chmod(0o700)
    return person / "claude.json"


def whoami(fake: Fake, role: str = "member") -> None:
    fake.says("whoami", {"success": True, "role": role, "summary": f"Ana, {role} of team main.", "next": [], "warnings": []})


def told(program: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(program.read_text())
    return found


def broken(program: Path, *words: str) -> None:
    program.write_text(json.dumps({"calls": [], "market": None, "plugin": None, "values": {}, "broken": [list(words)]}))


def test_install_puts_the_plugin_in_and_sets_it_up(fake: Fake, we: We, program: Path) -> None:
    whoami(fake)
    said = we("claude", "install")
    assert said.code == 0, said.err
    found = told(program)
    assert (Path(found["market"]) / ".claude-plugin" / "marketplace.json").is_file()
    assert (Path(found["market"]) / "plugins" / "we" / ".claude-plugin" / "plugin.json").is_file()
    assert found["plugin"]["enabled"] is True
    assert found["values"] == {"url": fake.url, "api_key": KEY}
    assert "Ana, member of team main" in said.out


def test_the_key_is_in_no_argument_no_environment_and_no_output(fake: Fake, we: We, program: Path) -> None:
    whoami(fake)
    outputs = [we("claude", "install"), we("claude", "install", "--dry-run"), we("claude", "status")]
    calls = told(program)["calls"]
    assert [each["words"] for each in calls if KEY in each["stdin"]] == [list(plugin.CONFIGURE)]
    assert not any(KEY in json.dumps([each["words"], each["env"]]) for each in calls)
    assert not any(KEY in said.out + said.err for said in outputs)


def test_again_is_harmless_and_what_was_switched_off_is_on_again(fake: Fake, we: We, program: Path) -> None:
    whoami(fake)
    assert we("claude", "install").code == 0
    state = told(program)
    state["plugin"]["enabled"] = False
    program.write_text(json.dumps(state))
    assert we("claude", "status").code == exits.FAILED
    assert we("claude", "install").code == 0
    assert told(program)["plugin"]["enabled"] is True
    assert we("claude", "install").code == 0
    assert we("claude", "status").code == 0


def test_a_dry_run_asks_nobody(fake: Fake, we: We, program: Path) -> None:
    said = we("claude", "install", "--dry-run")
    assert said.code == 0
    assert [line.split()[2] for line in said.out.splitlines()] == ["marketplace", "install", "enable", "configure"]
    assert we("claude", "remove", "--dry-run").out == "claude plugin marketplace remove codeb\n"
    assert not program.exists()
    assert fake.calls == []


def test_without_claude_it_says_what_to_do_by_hand(fake: Fake, we: We, person: Path) -> None:
    for word in ("install", "status", "remove"):
        said = we("claude", word)
        assert said.code == exits.FAILED
        assert "/plugin marketplace add" in said.err
        assert "nothing was changed" in said.err
        assert KEY not in said.err


def test_without_a_key_nothing_is_changed(we: We, program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CODEB_API_KEY")
    monkeypatch.setenv("CODEB_API_URL", "https://deploy.example.com")
    assert we("claude", "install").code == exits.DENIED
    assert not program.exists()


def test_a_key_that_is_refused_is_not_put_in(fake: Fake, we: We, program: Path) -> None:
    fake.says(
        "whoami", {"success": False, "error": "That key is not valid.", "code": "unauthorised", "hint": "", "details": {}}, 401
    )
    assert we("claude", "install").code == exits.DENIED
    assert not program.exists()


def test_a_server_that_is_away_is_no_hindrance(we: We, program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODEB_API_URL", "http://127.0.0.1:9")
    said = we("claude", "install")
    assert said.code == 0, said.err
    assert "does not answer" in said.err
    assert told(program)["values"]["url"] == "http://127.0.0.1:9"


@pytest.mark.parametrize("role", ["owner", "admin"])
def test_a_key_that_may_everything_is_warned_about(fake: Fake, we: We, program: Path, role: str) -> None:
    whoami(fake, role)
    assert "we token create" in we("claude", "install").err


def test_guards_that_cannot_run_are_not_put_in(fake: Fake, we: We, program: Path, tmp_path: Path) -> None:
    whoami(fake)
    (tmp_path / "bin" / "python3").unlink()
    said = we("claude", "install")
    assert (said.code, "python3" in said.err, program.exists()) == (exits.FAILED, True, False)
    (tmp_path / "bin" / "python3").write_text(f"#!{sys.executable}\nimport sys; sys.exit('too old')\n")
    (tmp_path / "bin" / "python3").chmod(0o700)
    said = we("claude", "install")
    assert (said.code, "too old" in said.err, program.exists()) == (exits.FAILED, True, False)


@pytest.mark.parametrize("step", [*plugin.steps()[:2], plugin.CONFIGURE], ids=lambda step: " ".join(step[:3]))
def test_a_step_that_fails_is_told_with_what_is_left_to_do(fake: Fake, we: We, program: Path, step: tuple[str, ...]) -> None:
    whoami(fake)
    broken(program, *step)
    said = we("claude", "install")
    assert said.code == exits.FAILED
    assert "it is broken" in said.err
    assert "\x1b[2J" not in said.err, "another program's words do not steer the terminal"
    assert "/plugin install we@codeb" in said.err


def test_status_says_what_is_wrong(fake: Fake, we: We, program: Path) -> None:
    whoami(fake)
    said = we("claude", "status")
    assert said.code == exits.FAILED
    assert "it is not in Claude Code" in said.out
    assert we("claude", "install").code == 0
    said = we("claude", "status")
    assert said.code == 0, said.out
    assert all(word in said.out for word in ("2.1.329", VERSION, fake.url, "with a key", "they work", "Ana, member"))
    state = told(program)
    state["plugin"]["folderVersion"] = "0.0.1"
    program.write_text(json.dumps(state))
    said = we("claude", "status")
    assert said.code == exits.FAILED
    assert f"0.0.1, on; this command is {VERSION}" in said.out


def test_remove_takes_everything_out(fake: Fake, we: We, program: Path) -> None:
    assert "not in Claude Code" in we("claude", "remove").out
    whoami(fake)
    we("claude", "install")
    assert we("claude", "remove").code == 0
    found = told(program)
    assert (found["market"], found["plugin"], found["values"]) == (None, None, {})
