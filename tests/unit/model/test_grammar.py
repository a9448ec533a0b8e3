"""The field grammar of promises.md, accepted and refused; nothing but ValueError, in linear time (S4, S33)."""

import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeb.model import grammar

D64 = "sha256:" + "a" * 64
TABLE: dict[str, tuple[Callable[[str], str], list[str], list[str]]] = {
    "project": (
        grammar.project_name,
        ["a", "shop", "my-app", "a1", "x" * 40],
        ["", "1a", "-a", "a-", "a--b", "a" * 41, "a b", "a.b", "ä", "a\n", "shop\0", "a/b", "shop-blue", "ﬁ", "a__b", "\uff41"],
    ),
    "team": (grammar.team_id, ["main", "a-b"], ["a__b", "a--b", "", "a-", "a\n", "\u212a", "a" * 41]),
    "environment": (
        grammar.environment,
        ["production", "staging", "preview", "pr-1", "pr-999999999"],
        ["prod", "Production", "pr-0", "pr-01", "pr-", "pr-1234567890", "pr-1\n", "pr-١", ""],
    ),
    "version": (
        grammar.version,
        ["1", "1.4.2", "_x", "a-b_c.d", "v" * 128],
        ["", ".1", "-1", "1..2", "v" * 129, "1 2", "1\n", "é", "1/2", "$(x)"],
    ),
    "image": (
        grammar.image,
        [
            "shop",
            "shop:1",
            "a/b/c:tag",
            "reg.test:5000/shop:1",
            f"shop@{D64}",
            f"localhost/shop:1@{D64}",
            "a__b/c-d",
            "127.0.0.1:5000/shop:1.4.2",
        ],
        [
            "",
            "Shop",
            "shop:",
            ":1",
            "shop@sha256:abc",
            "shop@",
            "-shop",
            "shop:-1",
            "a//b",
            "/a",
            "a/",
            "reg.test:/x",
            "a" * 256,
            "shop:1\n",
            "shop 1",
            "a___b",
            "shop:1;rm",
            "http://reg.test/x",
            f"shop@{D64[:-1]}G",
            "--privileged",
            "reg.test:500000/x",
        ],
    ),
    "health path": (
        grammar.health_path,
        ["/", "/health", "/a/b.c", "/~x/"],
        [
            "",
            "health",
            "//",
            "/a//b",
            "/../x",
            "/a/.",
            "/a?b",
            "/a b",
            "/%2e",
            "/é",
            "/\n",
            "/a\r\nX: 1",
            "/{x}",
            "/" + "a" * 1024,
        ],
    ),
    "idempotency key": (grammar.idempotency_key, ["a", "!" * 128, "~"], ["", "a b", "a" * 129, "é", "a\n", "\x7f"]),
    "operation": (
        grammar.operation_id,
        ["op_" + "0" * 26],
        ["op_", "op_ABCDEFGHIJ", "x_00000000", "op_0000000\n", "op_" + "a" * 41, "op_00000000/"],
    ),
    "plan": (grammar.plan_id, ["plan_" + "0" * 32], ["plan_", "plan_" + "g" * 32, "plan_" + "0" * 33, "plan_" + "0" * 32 + "\n"]),
    "since": (
        grammar.since,
        ["30s", "10m", "2h", "1d", "2026-01-31T10:00:00Z", "2026-01-31T10:00:00.123456789+09:00"],
        ["", "0m", "10", "m", "10 m", "1w", "2026-01-31", "2026-01-31T10:00:00", "10m\n", "١m", "1234567s"],
    ),
    "text": (lambda text: grammar.free_text(text, 10), ["", "größe", "🙂", "a\nb"], ["a\0", "\ud800", "x" * 11]),
    "domain": (
        lambda text: grammar.domain(text, "example.com"),
        ["a.bc", "www.example.com", "xn--a.xn--b", "a" * 63 + ".com"],
        [
            "",
            "com",
            "a.b",
            "a..com",
            "a.com.",
            "-a.com",
            "a_.com",
            "A.com",
            "192.0.2.4",
            "*.com",
            "a.com:80",
            "é.com",
            "x.local",
            "x.internal",
            "x.arpa",
            "a.localhost",
            "a" * 64 + ".com",
            "a.com\n",
            ("a" * 60 + ".") * 5 + "com",
        ],
    ),
}
GOOD = [(name, text) for name, (_, good, _) in TABLE.items() for text in good]
BAD = [(name, text) for name, (_, _, bad) in TABLE.items() for text in bad]


@pytest.mark.parametrize(("name", "text"), GOOD)
def test_taken_as_it_is(name: str, text: str) -> None:
    assert TABLE[name][0](text) == text


@pytest.mark.parametrize(("name", "text"), BAD)
def test_refused(name: str, text: str) -> None:
    with pytest.raises(ValueError, match=r"\w+ \w+"):
        TABLE[name][0](text)


def test_localhost_is_a_domain_only_below_such_a_base() -> None:
    assert grammar.domain("a.localhost", "x.localhost") == "a.localhost"


@pytest.mark.parametrize("name", TABLE)
@given(text=st.text(max_size=300) | st.text("aA0-_./:@~ \n\0sha256pr\ud800", max_size=300))
def test_nothing_but_value_errors(name: str, text: str) -> None:
    check = TABLE[name][0]
    try:
        kept = check(text)
    except ValueError:
        return
    assert check(kept) == kept


@pytest.mark.parametrize("name", TABLE)
@pytest.mark.parametrize("part", ["a", "a-", "-a", "a.", "a_", "0", "/a", "__", "a:", "pr-1-", "sha256:"])
def test_long_input_is_answered_at_once(name: str, part: str) -> None:
    text = part * (200_000 // len(part)) + "\n"
    began = time.process_time()
    with pytest.raises(ValueError, match=r"\w+"):
        TABLE[name][0](text)
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize(
    ("image", "tag", "host"),
    [
        ("shop", None, None),
        ("shop:1", "1", None),
        ("reg.test:5000/shop", None, "reg.test:5000"),
        ("reg.test/a/shop:2@" + D64, "2", "reg.test"),
        ("localhost/x:y", "y", "localhost"),
        ("a/b", None, None),
    ],
)
def test_parts_of_an_image(image: str, tag: str | None, host: str | None) -> None:
    assert (grammar.image_tag(image), grammar.image_host(image)) == (tag, host)


@pytest.mark.parametrize("text", ["Dockerfile", "a/b.c", ".github/workflows/x.yml", "a" * 255, "a@1/+~_-b", "a/-b"])
def test_paths_in_a_tree(text: str) -> None:
    assert grammar.tree_path(text) == text


@pytest.mark.parametrize(
    "text", ["", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "./a", "-a", "~a", "a b", "a\n", "é", "a" * 256, "a/" * 255 + "ab"]
)
def test_what_is_no_path_in_a_tree(text: str) -> None:
    with pytest.raises(ValueError, match="relative and canonical"):
        grammar.tree_path(text)
