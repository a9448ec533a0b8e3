"""The workflows that are generated: what they may do, what of them varies, and that nothing said becomes a part of them (S26)."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from codeb.model import source, workflow, workflow_steps, workflow_yaml
from codeb.model.workflow import Wanted

PLAIN = Wanted("shop")
S3 = replace(PLAIN, cache="s3", s3_endpoint="https://s3.example.com:9000", s3_bucket="build-cache", auto_promote=True)
PART = Wanted("web", "staging", "release/v1", ("self-hosted", "linux"), "apps/web", "https://codeb.example.com", "none")
VARIANTS = {"plain": PLAIN, "s3": S3, "part": PART, "alone": replace(PLAIN, with_previews=False)}


def read(wanted: Wanted) -> dict[str, Any]:
    """Each file by its name, parsed; `on` is a truth to YAML 1.1."""
    found = {each.path: yaml.safe_load(each.content) for each in workflow.files(wanted)}
    return {path.rpartition("/")[2]: said | {"on": said[True]} for path, said in found.items()}


def steps(said: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, job in said["jobs"].items():
        for each in job["steps"]:
            yield name, each


@pytest.mark.parametrize("wanted", VARIANTS.values(), ids=VARIANTS)
def test_rights_are_few_actions_pinned_and_expressions_only_in_env(wanted: Wanted) -> None:
    """S26: actions by commit, minimal permissions, nothing put into what is run, no pull_request_target."""
    for said in read(wanted).values():
        assert said["permissions"] == {"contents": "read"}
        assert set(said["on"]) <= {"push", "workflow_dispatch", "pull_request"}
        assert said["concurrency"]["cancel-in-progress"] is False
        assert said["defaults"] == {"run": {"shell": "bash"}}
        for name, job in said["jobs"].items():
            assert job["timeout-minutes"] <= 60, name
            assert job["runs-on"] == list(wanted.labels)
            assert set(job) == {"if", "runs-on", "timeout-minutes", "steps"}
        for _, each in steps(said):
            if "uses" in each:
                assert re.fullmatch(r"actions/checkout@[0-9a-f]{40}", each["uses"])
                assert each["with"]["persist-credentials"] is False
                continue
            assert "${{" not in each["run"]
            assert each["timeout-minutes"] <= 45


@pytest.mark.parametrize("wanted", VARIANTS.values(), ids=VARIANTS)
def test_what_others_write_reaches_a_step_by_its_environment_alone(wanted: Wanted) -> None:
    """A commit message, a title, a branch: wherever one is named it is the whole value of a variable."""
    for said in read(wanted).values():
        for name, each in steps(said):
            assert "title" not in json.dumps(each), name
            assert "head.ref" not in json.dumps(each), name
            for variable, value in each.get("env", {}).items():
                if "message" in value or "inputs." in value:
                    assert re.fullmatch(r"\$\{\{ [a-z_.]+ \}\}", value), variable


def test_only_steps_that_call_have_the_key_and_only_the_build_has_the_others() -> None:
    for said in read(S3).values():
        for _, each in steps(said):
            env = each.get("env", {})
            secrets = {match for value in env.values() for match in re.findall(r"secrets\.([A-Z_]+)", value)}
            calls = "codeb.sh" in each.get("run", "") and "docker" not in each["run"]
            if calls:
                assert secrets == {"CODEB_API_KEY"}
            elif "docker" in each.get("run", "") and "buildx build" in each["run"]:
                assert secrets == {"MINIO_ACCESS_KEY", "MINIO_SECRET_KEY", "IMAGE_REGISTRY_USER", "IMAGE_REGISTRY_PASSWORD"}
            else:
                assert secrets <= {"CODEB_API_KEY"}
    assert S3.secrets == ("CODEB_API_KEY", "MINIO_ACCESS_KEY", "MINIO_SECRET_KEY")
    assert "MINIO" not in workflow.files(PLAIN)[0].content


def test_a_pull_request_of_a_fork_gets_nothing() -> None:
    for job in read(PLAIN)["preview.yml"]["jobs"].values():
        assert "github.event.pull_request.head.repo.full_name == github.repository" in job["if"]
        assert "dependabot[bot]" in job["if"]


def test_what_a_pull_request_builds_is_no_cache_of_what_is_deployed() -> None:
    names = {
        file: each["env"]["CACHE_NAME"]
        for file, said in read(PLAIN).items()
        for _, each in steps(said)
        if each.get("id") == "build"
    }
    assert names == {"deploy.yml": "latest", "preview.yml": "previews"}


def test_a_dispatch_of_another_branch_does_nothing() -> None:
    for job in read(PART)["deploy-web.yml"]["jobs"].values():
        assert job["if"].startswith("github.ref == 'refs/heads/release/v1' && ")


def test_a_folder_of_a_larger_repository_has_files_of_its_own() -> None:
    said = read(PART)
    assert set(said) == {"deploy-web.yml", "preview-web.yml"}
    assert said["deploy-web.yml"]["on"]["push"] == {"branches": ["release/v1"], "paths": ["apps/web/**"]}
    assert said["preview-web.yml"]["on"]["pull_request"]["paths"] == ["apps/web/**"]
    build = next(each for _, each in steps(said["deploy-web.yml"]) if each.get("id") == "build")
    assert build["env"]["CONTEXT"] == "apps/web"
    assert "--cache-to" not in build["run"]


def test_a_sign_of_a_filter_in_a_name_is_only_a_sign() -> None:
    """At GitHub `c++` of a filter is no branch `c++`, until it is escaped."""
    said = read(replace(PART, branch="feat/c++", context="libs/c++"))
    assert said["deploy-web.yml"]["on"]["push"] == {"branches": ["feat/c\\+\\+"], "paths": ["libs/c\\+\\+/**"]}
    assert said["deploy-web.yml"]["jobs"]["deploy"]["if"].startswith("github.ref == 'refs/heads/feat/c++' && ")


def test_no_port_of_an_application_stands_in_it() -> None:
    for each in workflow.files(replace(PLAIN, server_url="https://codeb.example.com")):
        text = re.sub(r"[0-9a-f]{16,40}", "", each.content)
        assert not re.findall(r"(?<![0-9])[3-9][0-9]{3}(?![0-9])", text)


def test_a_tree_that_has_them_is_known_to_deploy_by_a_push() -> None:
    files = {each.path: each.content for each in workflow.files(PLAIN)}
    assert source.portrait({"go.mod": "module a\n", **files}).workflow == ".github/workflows/deploy.yml"


def test_each_kind_of_promotion_is_there() -> None:
    said = read(PLAIN)["deploy.yml"]
    assert said["on"]["workflow_dispatch"]["inputs"]["action"]["options"] == ["deploy", "promote", "rollback"]
    names = [each["name"] for name, each in steps(said) if name == "deploy" and "name" in each]
    assert names == ["What this job needs", "Ready", "Build and push", "Deploy", "Verify", "Complete the task"]
    more = [each["name"] for name, each in steps(read(S3)["deploy.yml"]) if name == "deploy" and "name" in each]
    assert more[5:7] == ["Promote", "Verify what is live"]


def test_a_file_that_nobody_changed_is_known_again() -> None:
    first, second = (workflow.files(each)[0].content for each in (PLAIN, S3))
    assert first != second
    assert all(map(workflow.untouched, (first, second)))
    assert not workflow.untouched(first.replace("contents: read", "contents: write"))
    assert not workflow.untouched(first + "\n")
    assert not workflow.untouched("name: x\n")
    assert not workflow.untouched("")


ANY = st.text(max_size=40) | st.sampled_from(
    [
        "a\n",
        'a"',
        "a'",
        "${{ secrets.CODEB_API_KEY }}",
        "a: b",
        "a #b",
        "*a",
        "{a}",
        "'; touch /tmp/x; '",
        "a\u2028b",
        "é",
        "\x85",
    ]
)
NAMES = st.sampled_from(["shop", "my-app", "a", "production", "release/v1", "fix#7", "v1+2", "https://s3.example.com", "cache-1"])
FIELDS = ("project", "environment", "branch", "context", "server_url", "s3_endpoint", "s3_bucket", "s3_region")


@settings(max_examples=80, deadline=None)
@given(st.dictionaries(st.sampled_from(FIELDS), ANY | NAMES, max_size=4), st.lists(ANY | NAMES, max_size=3))
def test_nothing_said_becomes_a_part_of_the_file(said: dict[str, str], labels: list[str]) -> None:
    """Refused, or read back as the very same value, in a file that is otherwise as it is with usual values."""
    wanted = replace(S3, **said, **({"labels": tuple(labels)} if labels else {}))  # type: ignore[arg-type]  # any of its fields
    try:
        files = workflow.files(wanted)
    except ValueError:
        return
    usual = replace(S3, context=wanted.context)
    for made, plain in zip(files, workflow.files(usual), strict=True):
        one, other = yaml.safe_load(made.content), yaml.safe_load(plain.content)
        assert _shape(one) == _shape(other)
        assert one["env"]["CODEB_PROJECT"] == wanted.project
        assert all(job["runs-on"] == list(wanted.labels) for job in one["jobs"].values())
        runs = [[each.get("run") for _, each in steps(which)] for which in (one, other)]
        assert runs[0] == runs[1]
        assert made.content.count("${{") == plain.content.count("${{")


def _shape(said: Any) -> Any:
    """Keys and kinds, without what the values are."""
    if isinstance(said, dict):
        return {str(key): "labels" if key == "runs-on" else _shape(value) for key, value in said.items()}
    return [_shape(each) for each in said] if isinstance(said, list) else type(said).__name__


HOSTILE = ("${{ secrets.A }}", "a' || secrets.A || 'b", "a\nb", 'a"b', "a b", "", "-a", "../a", "a,b=c")


@pytest.mark.parametrize(
    "name", ["project", "environment", "branch", "context", "server_url", "s3_endpoint", "s3_bucket", "s3_region"]
)
@pytest.mark.parametrize("bad", HOSTILE)
def test_every_value_is_held_to_its_grammar_here_too(name: str, bad: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        workflow.files(replace(S3, **{name: bad}))  # type: ignore[arg-type]  # one of its texts
    with pytest.raises(ValueError, match="label"):
        workflow.files(replace(S3, labels=("self-hosted", bad)))
    with pytest.raises(ValueError, match="folded"):
        workflow.files(replace(S3, project="My_Shop"))


def test_what_cannot_be_quoted_is_refused() -> None:
    for bad in ("a\nb", "é", "\x7f", "\u2028"):
        with pytest.raises(ValueError, match="printable ASCII"):
            workflow_yaml.quoted(bad)
    with pytest.raises(ValueError, match="no such workflow"):
        workflow.files(replace(PLAIN, cache="gha"))
    with pytest.raises(ValueError, match="no such workflow"):
        workflow.files(replace(PLAIN, labels=()))


SCRIPTS = {f"{kind} {each['name']}": each["run"] for kind, wanted in VARIANTS.items()
           for said in read(wanted).values() for _, each in steps(said) if "run" in each}  # fmt: skip


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_bash_takes_every_step(script: str) -> None:
    said = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)
    assert (said.returncode, said.stderr) == (0, "")
    shared = workflow_steps.CALLS.partition("<<'END'\n")[2].removesuffix("END\n")
    assert subprocess.run(["bash", "-n"], input=shared, capture_output=True, text=True, check=False).stderr == ""


def test_what_is_shown_of_others_is_no_command_of_the_runner() -> None:
    """What stands between the two lines is taken for text, and nobody can know the word that ends it."""
    shared = workflow_steps.CALLS.partition("<<'END'\n")[2].removesuffix("END\n")
    bash = shutil.which("bash")
    assert bash is not None
    words = set()
    for _ in range(2):
        said = subprocess.run(
            [bash, "-c", shared + "\nquoted"],
            input="::error::mine\n::add-path::/tmp\n",
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()
        assert said[1:3] == ["::error::mine", "::add-path::/tmp"]
        match = re.fullmatch(r"::stop-commands::([0-9a-f]{32})", said[0])
        assert match is not None
        assert said[-1] == f"::{match[1]}::"
        words.add(match[1])
    assert len(words) == 2
