"""Branches, paths in a repository and tasks named in a commit message: what is taken, and in which form."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeb.model import refs

ID = "task_" + "0" * 24 + "00a1"


@pytest.mark.parametrize("text", ["main", "feature/pay-2", "v1.2", "a", "A_b+c#7", "0", "a" * 200])
def test_branches(text: str) -> None:
    assert refs.branch(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "", "-x", "/a", "a/", "a//b", ".a", "a/.b", "a..b", "a.", "a.lock", "a.lock/b", "a b", "a~1", "a^", "a:b", "a?", "a*",
        "a[", "a\\b", "a@{1}", "a\n", "é", "a\0", "a" * 201,
    ],
)  # fmt: skip
def test_what_is_no_branch(text: str) -> None:
    with pytest.raises(ValueError, match="branch"):
        refs.branch(text)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("src/pay.py", "src/pay.py"), ("./src//pay.py", "src/pay.py"), ("src/", "src"), ("src/./a", "src/a"), ("a b/c", "a b/c"),
        ("*", "*"), ("~root", "~root"), ("C:\\x", "C:\\x"), ("e\u0301", "é"), ("글/그림.png", "글/그림.png"), ("...", "..."),
        (".github", ".github"), ("a/-x", "a/-x"), ("👩\u200d💻", "👩\u200d💻"),
    ],
)  # fmt: skip
def test_a_path_has_one_form(text: str, kept: str) -> None:
    assert refs.file_path(text) == kept


@pytest.mark.parametrize(
    "text",
    [
        "", ".", "./", "/", "/etc/passwd", "..", "../x", "a/..", "a/../b", "-x", "./-x", "a\nb", "a\0", "a\tb", "\x7f", "\u0085",
        "a\u202eb", "\u200fa", "a\u2066", "\u2028", "\ud800", "a" * 1025, "글" * 342,
    ],
)  # fmt: skip
def test_what_is_no_path(text: str) -> None:
    with pytest.raises(ValueError, match="path"):
        refs.file_path(text)


@given(st.text())
def test_the_form_of_a_form_is_itself(text: str) -> None:
    try:
        kept = refs.file_path(text)
    except ValueError:
        return
    assert refs.file_path(kept) == kept == unicodedata.normalize("NFC", kept)
    assert not {"", ".", ".."} & set(kept.split("/"))


def test_ids() -> None:
    assert refs.task_id(ID) == ID
    for text in ("", "task_", "task_complete", ID + "\n", ID[:20], "x" + ID, "task_" + "0" * 41, ID.upper()):
        with pytest.raises(ValueError, match="task_"):
            refs.task_id(text)


def test_tasks_named_in_a_message() -> None:
    other = ID[:-1] + "2"
    no = "task_" + "1" * 28
    message = f"Pay later ({ID})\n\nTask: {other}\nSee {ID}, not x{no}, {no}x, {no}_1, task_complete, TASK_{'0' * 28}"
    assert refs.named_tasks(message) == (ID, other)
    assert refs.named_tasks("Merge branch 'main'") == ()
    many = [f"task_{number:028x}" for number in range(80)]
    assert refs.named_tasks(" ".join(many)) == tuple(many[: refs.MOST_NAMED])
    assert refs.named_tasks("task_" * 10_000) == ()
