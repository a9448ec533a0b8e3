"""What of a source tree is sent to a build: `.dockerignore` as Docker reads it, links never followed."""

import io
import os
import tarfile
from pathlib import Path

import pytest

from codeb.entry.cli import context

CASES: list[tuple[str, list[str], list[str]]] = [
    # patterns, what is sent, what is not
    ("", ["a", "b/c"], []),
    ("# a comment\n\n", ["a"], []),
    ("a", ["ab", "b/a"], ["a", "a/b/c"]),
    ("/a/", ["b/a"], ["a", "a/b"]),
    ("./a/../b", ["a"], ["b", "b/c"]),
    ("*.log", ["a/x.log", "log"], ["x.log"]),
    ("**/*.log", ["log"], ["x.log", "a/x.log", "a/b/x.log"]),
    ("a/**", ["a", "b"], ["a/b", "a/b/c"]),
    ("**/node_modules", ["node"], ["node_modules", "a/node_modules", "a/node_modules/x"]),
    ("a/*/c", ["a/c", "a/b/b/c"], ["a/b/c"]),
    ("a?c", ["ac", "a/c", "abbc"], ["abc"]),
    ("[ab].txt", ["c.txt"], ["a.txt", "b.txt"]),
    ("[!ab].txt", ["a.txt"], ["c.txt"]),
    ("a.b", ["axb"], ["a.b"]),
    ("\\*x", ["ax"], ["*x"]),
    ("a$b(c)+", ["ab"], ["a$b(c)+"]),
    ("*\n!keep", ["keep", "keep/x"], ["a", "b/c"]),
    ("*\n!a/keep\n", ["a/keep"], ["a/b", "b"]),
    ("!keep\n*", [], ["keep"]),
    ("*.md\n!README*.md\nREADME-secret.md", ["README.md"], ["a.md", "README-secret.md"]),
    ("\ufeffa", [], ["a"]),
    ("  a  ", [], ["a"]),
]


@pytest.mark.parametrize(("text", "sent", "left"), CASES, ids=[repr(case[0]) for case in CASES])
def test_patterns(text: str, sent: list[str], left: list[str]) -> None:
    these = context.patterns(text)
    assert [path for path in sent if context.ignored(path, these)] == []
    assert [path for path in left if not context.ignored(path, these)] == []


def make(tree: Path, *names: str) -> None:
    for name in names:
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)


def packed(tree: Path) -> dict[str, tarfile.TarInfo]:
    into = io.BytesIO()
    count, size = context.pack(tree, into)
    assert size == len(into.getvalue())
    into.seek(0)
    with tarfile.open(fileobj=into) as archive:
        found = {each.name: each for each in archive.getmembers()}
    assert len(found) == count
    return found


def test_a_tree_is_packed_without_what_is_ignored(here: Path) -> None:
    (here / ".git").rmdir()
    make(here, "Dockerfile", "app.py", ".env", "lib/a.py", "lib/deep/keep.txt", "lib/deep/x.txt", "node_modules/x/y.js")
    (here / ".dockerignore").write_text(".env\nDockerfile\n.dockerignore\nnode_modules\nlib/deep\n!lib/deep/keep.txt\n")
    assert list(packed(here)) == [
        ".dockerignore", "Dockerfile", "app.py", "lib", "lib/a.py", "lib/deep/keep.txt",
    ]  # fmt: skip


def test_links_are_sent_as_links_and_what_is_no_file_is_not(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    make(outside, "secret")
    tree = tmp_path / "tree"
    make(tree, "Dockerfile", "one")
    (tree / "folder").symlink_to(outside)
    (tree / "file").symlink_to(outside / "secret")
    os.link(tree / "one", tree / "two")
    os.mkfifo(tree / "pipe")
    found = packed(tree)
    assert list(found) == ["Dockerfile", "file", "folder", "one", "two"]
    assert (found["folder"].issym(), found["file"].issym(), found["two"].isreg()) == (True, True, True)
    assert {(each.uid, each.gid, each.uname) for each in found.values()} == {(0, 0, "")}


def test_a_pattern_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"line 2 of \.dockerignore"):
        context.patterns("a\n[z-a]\n")
