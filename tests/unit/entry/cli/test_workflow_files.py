"""`we workflow init`: what is written into a repository, and what never is."""

from pathlib import Path

import pytest

from codeb.model import workflow
from codeb.model.workflow import Wanted
from tests.unit.entry.cli.conftest import Fake, We

WANTED = Wanted("shop")


def says(fake: Fake, wanted: Wanted = WANTED, **more: object) -> None:
    made = [{"path": each.path, "content": each.content} for each in workflow.files(wanted)]
    fake.answers.pop("workflow_generate", None)
    fake.says("workflow_generate", {
        "success": True, "summary": "two files", "warnings": [], "next": [], "projectName": "shop", "environment": "production",
        "files": made, "secrets": [{"name": "CODEB_API_KEY", "about": "a key"}],
        "optionalSecrets": [{"name": "IMAGE_REGISTRY_USER", "about": "its user"}], "tools": ["deploy"], **more,
    })  # fmt: skip


@pytest.fixture
def tree(here: Path) -> Path:
    (here / ".git").mkdir(exist_ok=True)
    (here / "codeb.toml").write_text('project = "shop"\n')
    (here / "Dockerfile").write_text("FROM scratch\n")
    return here


def written(tree: Path) -> dict[str, str]:
    return {each.name: each.read_text() for each in (tree / ".github/workflows").glob("*")}


def test_both_are_written_and_a_second_time_nothing(fake: Fake, we: We, tree: Path) -> None:
    says(fake)
    said = we("workflow", "init", "--branch", "trunk")
    assert said.code == 0, said.err
    assert written(tree) == {each.path.rpartition("/")[2]: each.content for each in workflow.files(WANTED)}
    assert (tree / ".github/workflows/deploy.yml").stat().st_mode & 0o777 == 0o644
    asked = fake.asked("workflow_generate")[0]
    assert (asked["projectName"], asked["branch"]) == ("shop", "trunk")
    assert asked["serverUrl"].startswith("http://127.0.0.1:")
    assert "secret CODEB_API_KEY" in said.err
    assert "we token create --preset ci --projects shop --environments production --environments preview" in said.err
    times = [(tree / ".github/workflows" / name).stat().st_mtime_ns for name in written(tree)]
    said = we("workflow", "init")
    assert said.out.count("is as it should be.") == 2
    assert times == [(tree / ".github/workflows" / name).stat().st_mtime_ns for name in written(tree)]


def test_a_dry_run_shows_all_and_writes_nothing(fake: Fake, we: We, tree: Path) -> None:
    says(fake)
    said = we("workflow", "init", "--dry-run")
    assert said.code == 0
    assert "Would write" in said.out
    assert "contents: read" in said.out
    assert not (tree / ".github").exists()
    assert we("workflow", "init", "--json").code == 0
    assert not (tree / ".github").exists()


def test_ours_is_written_anew_and_what_somebody_changed_is_not(fake: Fake, we: We, tree: Path) -> None:
    says(fake)
    we("workflow", "init")
    says(fake, Wanted("shop", branch="trunk"))
    said = we("workflow", "init")
    assert said.code == 0
    assert '+    branches: ["trunk"]' in said.out
    assert '["trunk"]' in written(tree)["deploy.yml"]

    file = tree / ".github/workflows/deploy.yml"
    mine = file.read_text().replace("timeout-minutes: 60", "timeout-minutes: 90")
    file.write_text(mine)
    other = (tree / ".github/workflows/preview.yml").read_text()
    says(fake, Wanted("shop", ttl_hours=24))
    said = we("workflow", "init")
    assert said.code == 1
    assert "was changed by somebody; nothing was written" in said.err
    assert "-    timeout-minutes: 90" in said.err
    assert written(tree) == {"deploy.yml": mine, "preview.yml": other}, "neither, so that they belong together"
    assert we("workflow", "init", "--dry-run").code == 0
    assert file.read_text() == mine
    assert we("workflow", "init", "--force").code == 0
    assert written(tree) == {each.path.rpartition("/")[2]: each.content for each in workflow.files(Wanted("shop", ttl_hours=24))}


def test_a_folder_of_a_larger_repository_says_which(fake: Fake, we: We, tree: Path) -> None:
    part = tree / "apps/web"
    part.mkdir(parents=True)
    says(fake, Wanted("web", context="apps/web"))
    said = we("workflow", "init", str(part), "-p", "web")
    assert said.code == 0
    assert fake.asked("workflow_generate")[0]["context"] == "apps/web"
    assert set(written(tree)) == {"deploy-web.yml", "preview-web.yml"}
    assert "no Dockerfile in apps/web" in said.err


@pytest.mark.parametrize(
    "path",
    ["../x.yml", ".github/workflows/../../x.yml", "/tmp/x.yml", ".github/workflows/x.sh", ".git/hooks/pre-commit", "x.yml\n"],
)
def test_a_server_names_no_other_file(path: str, fake: Fake, we: We, tree: Path) -> None:
    """S21: whatever it says, only workflows are written."""
    says(fake, files=[{"path": ".github/workflows/deploy.yml", "content": "a"}, {"path": path, "content": "b"}])
    said = we("workflow", "init", "--force")
    assert said.code == 2
    assert "Nothing was written" in said.err
    assert not (tree / ".github").exists()


@pytest.mark.parametrize("what", [".github", ".github/workflows", ".github/workflows/deploy.yml"])
def test_no_link_is_followed_out(what: str, fake: Fake, we: We, tree: Path, tmp_path: Path) -> None:
    """S21"""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    link = tree / what
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(outside / "kept" if what.endswith(".yml") else outside)
    says(fake)
    said = we("workflow", "init", "--force")
    assert said.code == 2
    assert "is not a plain" in said.err
    assert [each.name for each in outside.iterdir()] == ["kept"]
    assert (outside / "kept").read_text() == "kept"


def test_a_refusal_writes_nothing(fake: Fake, we: We, tree: Path) -> None:
    refused = {"success": False, "error": "There is no project shop.", "code": "project_not_found", "details": {}}
    fake.says("workflow_generate", refused, 404)
    assert we("workflow", "init").code == 4
    assert not (tree / ".github").exists()
