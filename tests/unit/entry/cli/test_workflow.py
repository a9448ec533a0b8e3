"""`we workflow scan`: what of a folder is read, and what never is (S21)."""

import json
import os
from pathlib import Path

import pytest

from codeb.entry.cli import sources
from codeb.model import source
from tests.unit.entry.cli.conftest import Fake, We

OK = {
    "success": True, "summary": "It is go; look at: workflow.", "warnings": ["two ports"], "type": "go",
    "facts": [{"name": "type", "value": "go", "where": "go.mod"}],
    "missing": [{"name": "workflow", "text": "there is none", "fix": "Do without."}],
    "unread": [{"where": "Dockerfile line 3", "why": "EXPOSE $X"}],
    "next": [{"tool": "workflow_init", "params": {"projectName": "a"}, "why": "set it up"}],
}  # fmt: skip


def test_the_folder_is_read_here_and_handed_in(fake: Fake, we: We, here: Path, tmp_path: Path) -> None:
    fake.says("workflow_scan", OK)
    (here / "go.mod").write_text("module a\n")
    (here / "codeb.toml").write_text('project = "shop"\n')
    said = we("workflow", "scan", str(here))
    assert said.code == 0
    assert said.out.splitlines() == [
        "It is go; look at: workflow.", "type         go (go.mod)", "port         not known",
        "health path  / (no other was found)", "  missing: workflow: there is none. Do without.",
    ]  # fmt: skip
    assert said.err.splitlines() == ["! Dockerfile line 3: EXPOSE $X", "! two ports", "  next: we init  (set it up)"]
    files = {"go.mod": "module a\n", "codeb.toml": None}
    assert fake.asked("workflow_scan") == [{"files": files, "projectName": "shop"}]
    assert we("workflow", "scan", "-p", "other", "--json").code == 0
    assert fake.asked("workflow_scan")[-1] == {"files": files, "projectName": "other"}
    assert we("workflow", "scan", str(here / "go.mod")).code == 2
    (tmp_path / "empty").mkdir()
    assert we("workflow", "scan", str(tmp_path / "empty")).code == 2


def test_nothing_outside_the_folder_is_read(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "Dockerfile").write_text("canary")
    tree = tmp_path / "tree"
    (tree / "docker").mkdir(parents=True)
    (tree / "docker" / "prod").write_text("FROM a\n")
    (tree / "Dockerfile").symlink_to("docker/prod")
    (tree / "package.json").symlink_to("../outside/Dockerfile")
    (tree / "go.mod").symlink_to("/etc/hostname")
    (tree / "Pipfile").symlink_to("Pipfile")
    (tree / "src").symlink_to(outside)
    os.mkfifo(tree / "Procfile")
    found = sources.taken(tree)
    assert found.files["Dockerfile"] == "FROM a\n", "a link within the folder is followed"
    assert [name for name, text in found.files.items() if text is not None] == ["Dockerfile"]
    assert "src/Dockerfile" not in found.files
    assert sorted(each.partition(" ")[0] for each in found.warnings) == ["Pipfile", "Procfile", "go.mod", "package.json"]
    assert "canary" not in repr(found)


@pytest.mark.parametrize(
    ("name", "raw", "text", "said"),
    [
        ("Dockerfile", b"\xef\xbb\xbfFROM a\r\n", "\ufeffFROM a\r\n", ""),
        ("Dockerfile", b"# caf\xe9\nFROM a\n", "# caf\ufffd\nFROM a\n", "not all UTF-8"),
        ("package.json", b"{" + b" " * 70_000 + b"}", None, "was not read"),
        ("requirements.txt", b"flask\n" + b"#" * 70_000, "flask\n" + "#" * 65_530, "only its beginning"),
    ],
)
def test_odd_files_are_read_as_far_as_they_can_be(tmp_path: Path, name: str, raw: bytes, text: str | None, said: str) -> None:
    (tmp_path / name).write_bytes(raw)
    found = sources.taken(tmp_path)
    assert found.files == {name: text}
    assert said in "".join(found.warnings)
    assert bool(said) is bool(found.warnings)


def test_reading_has_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("node_modules", "a/b/c/d/e/f/g/h", ".git"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "main.py").touch()
    (tmp_path / "with space").touch()
    assert list(sources.taken(tmp_path).files) == []
    for number in range(30):
        (tmp_path / f"f{number:02}").touch()
    monkeypatch.setattr(source, "MOST_FILES", 10)
    found = sources.taken(tmp_path)
    assert list(found.files) == [f"f{number:02}" for number in range(10)]
    assert "first 10 files" in found.warnings[0]


def test_what_is_handed_in_fits_into_a_call(tmp_path: Path, fake: Fake, we: We) -> None:
    """S33: 1 MiB for all but `env_sync`; what is not ASCII is six times as long on its way."""
    fake.says("workflow_scan", OK)
    (tmp_path / "Dockerfile").write_text("FROM a\n")
    for number in range(12):
        (tmp_path / f"f{number}").mkdir()
        (tmp_path / f"f{number}" / "main.py").write_text("한" * 20_000)
    said = we("workflow", "scan", str(tmp_path))
    assert said.code == 0
    assert "too much to read" in said.err
    (files,) = [each["files"] for each in fake.asked("workflow_scan")]
    assert files["Dockerfile"] == "FROM a\n"
    assert len(json.dumps(files)) < 2**20
