"""`we deploy .`: what is asked before the build, what is built, what is deployed in the end, and what is said when it fails.

The builder is a program that stands in for docker buildx, or an Engine that answers from a list.
"""

import json
import os
import re
import socketserver
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from codeb.drivers import shell
from codeb.entry.cli import builders, engine, tree
from codeb.errors import Unavailable
from tests.unit.entry.cli.conftest import Fake, We

DIGEST = "sha256:" + "d" * 64
IMAGE = "reg.test:5000/shop:{version}"
DONE = {"success": True, "summary": "done", "next": [], "warnings": [], "slot": "blue", "operation": {}}

DOCKER = """#!/usr/bin/env python3
import json, os, pathlib, sys
said = sys.argv[1:]
folder = pathlib.Path(__file__).parent
with (folder / "asked").open("a") as file:
    file.write(json.dumps([said, sorted(os.environ)]) + "\\n")
if said[:2] == ["buildx", "version"]:
    sys.exit(int(os.path.exists(folder / "no-buildx")))
if said[:2] == ["buildx", "inspect"]:
    print("Name: it\\nDriver: " + (folder / "driver").read_text())
    sys.exit(0)
if said[0] == "info":
    print((folder / "info").read_text())
    sys.exit(0)
print("#1 building\\n#2 \\x1b]0;evil\\x07RUN it")
if os.path.exists(folder / "fails"):
    print("ERROR: process did not complete: exit code: 1", file=sys.stderr)
    sys.exit(1)
where = said[said.index("--metadata-file") + 1]
pathlib.Path(where).write_text((folder / "metadata").read_text())
"""


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a `docker` that has buildx, on the PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "docker").write_text(DOCKER)
    (folder / "docker").chmod(0o755)
    (folder / "driver").write_text("docker")
    (folder / "info").write_text("[]")
    (folder / "metadata").write_text(json.dumps({"containerimage.digest": DIGEST, "containerimage.config.digest": "sha256:c"}))
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    # were it not found, nothing is built and pushed by the Engine of this machine instead
    monkeypatch.setenv("CODEB_DOCKER_HOST", f"unix://{folder}/nothing.sock")
    return folder


def asked(docker: Path) -> list[list[str]]:
    return [json.loads(line)[0] for line in (docker / "asked").read_text().splitlines()]


def source(folder: Path) -> Path:
    (folder / "Dockerfile").write_text("FROM scratch\n")
    (folder / "codeb.toml").write_text('project = "shop"\nenvironment = "staging"\n')
    return folder


def server(fake: Fake) -> None:
    """It names the image as the real one does, then deploys."""

    def next_answer(tool: str) -> tuple[int, dict[str, Any]]:
        params = fake.calls[-1][1]
        if not params.get("dryRun"):
            return 200, DONE
        plan = {"image": IMAGE.format(version=params["version"])}
        return 200, {**DONE, "dryRun": True, "planId": "plan_1", "plan": plan, "changes": ["start it"], "next": []}

    fake.next = next_answer  # type: ignore[method-assign]


def test_a_tree_is_built_pushed_and_deployed_by_its_digest(fake: Fake, we: We, here: Path, docker: Path) -> None:
    server(fake)
    said = we("deploy", str(source(here)), "--version", "1.4.2", "--promote", "--json")
    assert said.code == 0, said.err
    first, last = fake.asked("deploy")
    where = {"projectName": "shop", "environment": "staging", "version": "1.4.2", "autoPromote": True}
    assert first == {**where, "dryRun": True}
    assert last == {**where, "image": f"reg.test:5000/shop:1.4.2@{DIGEST}"}
    build = asked(docker)[-1]
    assert build[:2] == ["buildx", "build"]
    assert build[-1] == str(here)
    assert build[build.index("--tag") + 1] == "reg.test:5000/shop:1.4.2"
    assert {"--push", "--provenance=false"} <= set(build)
    assert "--cache-to" not in build
    assert "cannot keep its cache" in said.err
    assert "evil" not in said.err
    assert json.loads(said.out) == DONE


@pytest.mark.parametrize(
    ("driver", "info"), [("docker-container", "[]"), ("docker", '[["driver-type","io.containerd.snapshotter.v1"]]')]
)
def test_a_builder_that_can_keeps_its_cache_in_the_image_registry(
    driver: str, info: str, fake: Fake, we: We, here: Path, docker: Path
) -> None:
    (docker / "driver").write_text(driver)
    (docker / "info").write_text(info)
    server(fake)
    said = we("deploy", str(source(here)), "--version", "1", "--json")
    build = asked(docker)[-1]
    kept = "type=registry,ref=reg.test:5000/shop/buildcache"
    assert build[build.index("--cache-from") + 1] == kept
    assert build[build.index("--cache-to") + 1].startswith(f"{kept},mode=max")
    assert "cannot keep" not in said.err


def test_what_the_docker_command_is_given_holds_nothing_of_codebs_own(fake: Fake, we: We, here: Path, docker: Path) -> None:
    """S11: the key is in this process's environment, and in no other's."""
    server(fake)
    we("deploy", str(source(here)), "--version", "1", "--json")
    given = {name for line in (docker / "asked").read_text().splitlines() for name in json.loads(line)[1]}
    assert [name for name in given if name.startswith("CODEB_")] == []
    assert {"PATH", "HOME"} <= given


def test_a_failed_build_shows_its_last_lines_and_deploys_nothing(fake: Fake, we: We, here: Path, docker: Path) -> None:
    (docker / "fails").touch()
    server(fake)
    said = we("deploy", str(source(here)), "--version", "1")
    assert said.code == 1
    assert f"{here} could not be built" in said.err
    assert said.err.rstrip().count("ERROR: process did not complete") == 2
    assert "Nothing was deployed" in said.err
    assert len(fake.asked("deploy")) == 1


def test_a_builder_that_does_not_say_what_it_pushed_is_no_deploy(fake: Fake, we: We, here: Path, docker: Path) -> None:
    server(fake)
    for metadata in ("{}", "no", '{"containerimage.digest": "sha256:x"}'):
        (docker / "metadata").write_text(metadata)
        assert we("deploy", str(source(here)), "--version", "1").code == 1
    assert all(params.get("dryRun") for params in fake.asked("deploy"))


def test_what_the_server_refuses_is_found_out_before_the_build(fake: Fake, we: We, here: Path, docker: Path) -> None:
    fake.says("deploy", {"success": False, "error": "There is no project shop.", "code": "project_not_found", "details": {}}, 404)
    assert we("deploy", str(source(here)), "--version", "1").code == 4
    assert not (docker / "asked").exists()


def test_a_dry_run_builds_nothing(fake: Fake, we: We, here: Path, docker: Path) -> None:
    server(fake)
    said = we("deploy", str(source(here)), "--version", "1", "--dry-run")
    assert (said.code, "Would build" in said.out) == (0, True)
    assert not (docker / "asked").exists()


@pytest.mark.parametrize("word", ["./nothing", "/nonexistent"])
def test_what_is_no_tree_is_a_usage_error(word: str, we: We) -> None:
    assert we("deploy", word, "-p", "shop").code == 2


def test_a_tree_without_a_dockerfile_is_a_usage_error(we: We, here: Path) -> None:
    said = we("deploy", ".", "-p", "shop")
    assert (said.code, "no Dockerfile" in said.err) == (2, True)
    source(here)
    assert we("deploy", ".", "--image", "shop:1").code == 2


def test_the_tree_names_the_project_wherever_the_command_is_called(
    fake: Fake, we: We, here: Path, docker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server(fake)
    source(here)
    monkeypatch.chdir(tmp_path)
    assert we("deploy", "./repo", "--version", "1", "--json").code == 0
    assert fake.asked("deploy")[0]["projectName"] == "shop"
    assert we("deploy", "./repo", "--version", "1", "-p", "other", "--json").code == 0
    assert "environment" not in fake.asked("deploy")[-1], "the file's environment belongs to the file's project"


# the version


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=codebtest", "-c", "user.email=codebtest@example.com"]
    return subprocess.run(["git", "-C", folder, *who, *words], check=True, capture_output=True, text=True).stdout.strip()


def test_the_version_is_the_commit_and_the_time_where_there_is_more(tmp_path: Path) -> None:
    assert re.fullmatch(r"\d{8}-\d{6}", tree.version_of(tmp_path))
    git(tmp_path, "init", "-q")
    assert re.fullmatch(r"\d{8}-\d{6}", tree.version_of(tmp_path))
    (tmp_path / "a").write_text("a")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "-q", "-m", "first")
    commit = git(tmp_path, "rev-parse", "--short=12", "HEAD")
    assert tree.version_of(tmp_path) == commit
    (tmp_path / "b").write_text("not committed")
    assert re.fullmatch(rf"{commit}-\d{{8}}-\d{{6}}", tree.version_of(tmp_path))


# the Engine itself


class Answering:
    """An Engine that answers each request from a list, and keeps what it was sent."""

    def __init__(self, path: Path) -> None:
        self.path, self.answers, self.heads, self.bodies = path, list[tuple[int, bytes]](), list[str](), list[bytes]()

    def serve(self) -> socketserver.BaseServer:
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    head += self.rfile.readline()
                outer.heads.append(head.decode())
                size = re.search(rb"Content-Length: (\d+)", head)
                outer.bodies.append(self.rfile.read(int(size[1]) if size else 0))
                status, body = outer.answers.pop(0)
                self.wfile.write(
                    b"HTTP/1.1 %d X\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (status, len(body), body)
                )

        return socketserver.UnixStreamServer(str(self.path), Handler)


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Answering]:
    found = Answering(tmp_path / "docker.sock")
    monkeypatch.setenv("CODEB_DOCKER_HOST", f"unix://{found.path}")
    monkeypatch.setenv("PATH", "/nonexistent")
    with found.serve() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield found
        running.shutdown()
        thread.join()


BUILT = b'{"stream":"Step 1/1 : FROM scratch\\n"}\n{"aux":{"ID":"sha256:abc"}}\n{"stream":"Successfully built abc\\n"}\n'
PUSHED = b'{"status":"Pushing"}\n{"status":"Pushing"}\n{"aux":{"Tag":"1","Digest":"%s","Size":9}}\n' % DIGEST.encode()


def test_without_buildx_the_engine_is_given_the_tree(fake: Fake, we: We, here: Path, daemon: Answering, tmp_path: Path) -> None:
    daemon.answers += [(200, BUILT), (200, PUSHED)]
    (tmp_path / "person/.docker").mkdir(parents=True)
    (tmp_path / "person/.docker/config.json").write_text('{"auths": {"reg.test:5000": {"auth": "dTpjYW5hcnk="}}}')
    server(fake)
    said = we("deploy", str(source(here)), "--version", "1", "--json")
    assert said.code == 0, said.err
    assert "keeps no cache" in said.err
    assert b"FROM scratch" in daemon.bodies[0]
    assert daemon.heads[0].startswith("POST /build?t=reg.test%3A5000%2Fshop%3A1&dockerfile=Dockerfile")
    assert daemon.heads[1].startswith("POST /images/reg.test%3A5000/shop/push?tag=1")
    assert "X-Registry-Auth: eyJ1c2VybmFtZSI6ICJ1Iiw" in daemon.heads[1]
    assert "canary" not in said.err + said.out
    assert fake.asked("deploy")[-1]["image"] == f"reg.test:5000/shop:1@{DIGEST}"


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ([(200, b'{"stream":"Step 1\\n"}\n{"error":"COPY failed: no such file"}\n')], "COPY failed: no such file"),
        ([(400, b'{"message":"dockerfile parse error"}')], "dockerfile parse error"),
        ([(200, BUILT), (200, b'{"status":"The push refers to repository"}\n{"error":"denied"}\n')], "docker login"),
        ([(200, BUILT), (200, b'{"status":"ok"}\n')], "did not say as what"),
        ([(200, b"no json\n")], "Docker does not answer"),
    ],
)  # fmt: skip
def test_what_the_engine_refuses_is_said(
    answers: list[tuple[int, bytes]], words: str, fake: Fake, we: We, here: Path, daemon: Answering
) -> None:
    daemon.answers += answers
    server(fake)
    said = we("deploy", str(source(here)), "--version", "1")
    assert said.code == 1
    assert words in said.err
    assert "Nothing was deployed" in said.err
    assert all(params.get("dryRun") for params in fake.asked("deploy"))


def test_no_docker_at_all_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fake: Fake, we: We, here: Path) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setenv("CODEB_DOCKER_HOST", f"unix://{tmp_path}/nothing.sock")
    server(fake)
    said = we("deploy", str(source(here)), "--version", "1")
    assert (said.code, "Docker does not answer" in said.err) == (1, True)
    monkeypatch.setenv("CODEB_DOCKER_HOST", "ssh://somewhere")
    assert "no Docker that can be asked directly" in we("deploy", str(here), "--version", "1").err


def test_a_program_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        shell.follow(["/nonexistent/program"], environment={}, each=print)
    assert builders.asked("/nonexistent/program") == (127, "")
    assert engine.sign_in("reg.test:5000") == "e30="
