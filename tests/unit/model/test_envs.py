"""Environment variables: their grammar, KEY=VALUE lines byte for byte, and what a write may do."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeb.errors import Conflict, InvalidParams
from codeb.model import envfile, envs
from codeb.model.envs import Env, difference, next_moment, stamp, which, with_file, with_generated, with_set, with_version
from codeb.model.secret import Secret

NASTY = (
    "it's", 'say "hi"', "a=b=c", "#fff", " #no comment", "two\nlines\n", "\r\n", "\\n", "a\\", "'\"\\\n\r\t",
    "한국어 값", "🎉 emoji 👩‍👩‍👧", "$HOME `id` $(id)", " spaces ", "\t",
    "", "{\"a\": [1]}", "-----BEGIN X-----\nabc=\n-----END X-----\n",
    "x" * envs.LONGEST_VALUE,
    "\u2028\x85\x0b\x0c\x1c", "\ufeffbom", "export A=1", "'", '"', "\\'", "%s {x}",
)  # fmt: skip
KEYS = st.from_regex(envs.KEY, fullmatch=True).filter(lambda name: not name.startswith("CODEB_"))
VALUES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60)


@given(st.dictionaries(KEYS, VALUES | st.sampled_from(NASTY), max_size=8))
def test_what_is_written_as_lines_is_read_back_byte_for_byte(values: dict[str, str]) -> None:
    found = envfile.parse(envfile.render(values, "about it", "and more"))
    assert (found.values, found.faults) == (values, ())


@given(st.text(max_size=200))
def test_reading_never_raises_and_takes_only_what_the_grammar_does(text: str) -> None:
    for name, value in envfile.parse(text).values.items():
        assert (envs.key(name), envs.value(value)) == (name, value)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("A=1\nB=2", {"A": "1", "B": "2"}),
        ("# a\n\n  # b\nA=1\n", {"A": "1"}),
        ("\ufeffA=1\r\nB=x y\r\n", {"A": "1", "B": "x y"}),
        ("export A=1\nexport\tB = 2 ", {"A": "1", "B": "2"}),
        ("A=\nB=''", {"A": "", "B": ""}),
        ("A=#fff\nB=a#b", {"A": "#fff", "B": "a#b"}),
        ("A='a # b' # said\nB=\"c\"", {"A": "a # b", "B": "c"}),
        ('A="one\ntwo"\nB=3', {"A": "one\ntwo", "B": "3"}),
        (r'A="\n\r\t\"\\\d$X"', {"A": '\n\r\t"\\\\d$X'}),
        (r"A='\n'", {"A": r"\n"}),
        ("A=it's\nB=a\"b", {"A": "it's", "B": 'a"b'}),
        ("URL=postgres://u:p@h/d?x=1", {"URL": "postgres://u:p@h/d?x=1"}),
        ("A=$B", {"A": "$B"}),
    ],
)  # fmt: skip
def test_lines_as_people_write_them(text: str, values: dict[str, str]) -> None:
    found = envfile.parse(text)
    assert (found.values, found.faults) == (values, ())


@pytest.mark.parametrize(
    ("text", "line", "word"),
    [
        ("A=1\nB", 2, "KEY=VALUE"),
        ("A=1\nA=2", 2, "twice"),
        ("A='x\ny'\n1B=2", 3, "name"),
        ("A=x #y", 1, "quotes"),
        ("A= # y", 1, "quotes"),
        ("A=\"x\" y", 1, "after the closing quote"),
        ("A=\"x\nB=2", 1, "not closed"),
        ("CODEB_X=1", 1, "CodeB's own"),
        ("=x", 1, "name"),
        ("A B=x", 1, "name"),
        ("A='\0'", 1, "NUL"),
        ("A='\ud800'", 1, "surrogate"),
        ("A=" + "x" * (envs.LONGEST_VALUE + 1), 1, "bytes"),
        ("A=a\rb", 1, "carriage return"),
        ("\n".join(f"A{number}=" for number in range(envs.MOST_KEYS + 1)), envs.MOST_KEYS + 1, "at most"),
    ],
)  # fmt: skip
def test_what_is_not_certain_is_refused_with_its_line_and_without_its_text(text: str, line: int, word: str) -> None:
    (fault,) = envfile.parse(text).faults
    assert fault.line == line
    assert word in fault.problem
    assert "x y" not in fault.problem


@pytest.mark.parametrize("text", ["", "1A", "A-B", "a" * 129, "A B", "A=", "é", "A\n", "CODEB_KEY", "CODEB_x", "A.B"])
def test_a_name_follows_the_grammar(text: str) -> None:
    with pytest.raises(ValueError) as fault:
        envs.key(text)
    assert len(text) < 4 or text not in str(fault.value)


def test_a_value_is_kept_up_to_32_kib_of_utf8() -> None:
    for text in NASTY:
        assert envs.value(text) == text
    with pytest.raises(ValueError):
        envs.value("한" * (envs.LONGEST_VALUE // 3 + 1))


@pytest.mark.parametrize("text", [
    "CHANGE_ME", "change_me", "changeme", " CHANGE-ME ", "postgres://u:CHANGE_ME@h/d", "your_api_key", "<your_token>",
    "YOUR_KEY_HERE", "GENERATE_ME", "GENERATE_WITH_openssl", "CHANGE_ME!",
])  # fmt: skip
def test_placeholders_are_refused(text: str) -> None:
    assert envs.is_placeholder(text)
    for write in (lambda: with_set(Env(), {"A": text}, (), force=True), lambda: with_file(Env(), {"A": text}, force=True)):
        with pytest.raises(InvalidParams) as refused:
            write()
        assert refused.value.code == "env_placeholder"
        assert text not in str(refused.value.message)


@pytest.mark.parametrize(
    "text", ["", "exchange_mexico", "we change men", "your value", "https://your_host.example.com/x", "regenerate_x"]
)
def test_what_only_resembles_a_placeholder_is_kept(text: str) -> None:
    assert not envs.is_placeholder(text)


OLD = Env(
    {"DATABASE_URL": "postgres://old", "POSTGRES_DB": "shop", "TOKEN": "made", "A": "1", "B": "2", "C": "3", "D": "4"},
    frozenset({"TOKEN"}),
)  # fmt: skip


def test_which_names_are_protected() -> None:
    assert OLD.protected == ("DATABASE_URL", "POSTGRES_DB", "TOKEN")
    assert not Env().protects("DATABASE_URL"), "the first value of one is nobody's change"


@pytest.mark.parametrize(("values", "unset"), [
    ({"DATABASE_URL": "x"}, ()), ({"TOKEN": "x"}, ()), ({}, ("POSTGRES_DB",)), ({"A": "9"}, ("TOKEN",)),
])  # fmt: skip
def test_a_protected_one_changes_only_by_force(values: dict[str, str], unset: Any) -> None:
    with pytest.raises(Conflict) as refused:
        with_set(OLD, values, unset, force=False)
    assert refused.value.code == "env_protected"
    after = with_set(OLD, values, unset, force=True)
    assert after.values == {name: text for name, text in (dict(OLD.values) | values).items() if name not in unset}
    assert ("TOKEN" in after.generated) is ("TOKEN" not in unset)


def test_the_same_value_again_is_no_change() -> None:
    assert with_set(OLD, {"DATABASE_URL": "postgres://old"}, ("NOT_THERE",), force=False).values == OLD.values


def test_set_and_taken_out_at_once_is_refused() -> None:
    with pytest.raises(InvalidParams):
        with_set(OLD, {"A": "2"}, ("A",), force=True)


def test_a_file_keeps_protected_ones_that_it_leaves_out() -> None:
    after = with_file(OLD, {"A": "1", "B": "2", "C": "3", "E": "5"}, force=False)
    assert set(after.values) == {"DATABASE_URL", "POSTGRES_DB", "TOKEN", "A", "B", "C", "E"}
    assert after.generated == {"TOKEN"}
    for force in (False, True):
        assert with_file(OLD, dict.fromkeys("ABC", "1"), force=force).protected == OLD.protected
    with pytest.raises(Conflict) as refused:
        with_file(OLD, {**OLD.values, "DATABASE_URL": "x"}, force=False)
    assert refused.value.code == "env_protected"
    assert with_file(OLD, {**OLD.values, "DATABASE_URL": "x"}, force=True).values["DATABASE_URL"] == "x"


@pytest.mark.parametrize(("there", "left", "fine"), [
    (1, 0, False), (2, 0, False), (2, 1, True), (4, 2, True), (8, 5, False), (9, 6, True), (9, 5, False), (30, 20, True),
    (30, 19, False),
])  # fmt: skip
def test_a_file_that_drops_much_needs_force(there: int, left: int, fine: bool) -> None:
    now = Env({"DATABASE_URL": "x"} | {f"K{number}": "v" for number in range(there)})
    file = {f"K{number}": "v" for number in range(left)}
    if fine:
        assert len(with_file(now, file, force=False).values) == left + 1
        return
    with pytest.raises(Conflict) as refused:
        with_file(now, file, force=False)
    assert refused.value.code == "env_drops_many"
    assert len(with_file(now, file, force=True).values) == left + 1


def test_an_earlier_version_leaves_protected_ones_as_they_are_now() -> None:
    then = Env({"DATABASE_URL": "postgres://older", "A": "0", "REDIS_URL": "redis://gone"})
    after = with_version(OLD, then, force=False)
    assert after.values == {
        "DATABASE_URL": "postgres://old", "POSTGRES_DB": "shop", "TOKEN": "made", "A": "0", "REDIS_URL": "redis://gone",
    }  # fmt: skip
    assert after.generated == {"TOKEN"}
    assert with_version(OLD, then, force=True).values == then.values


def test_what_codeb_made_is_protected_and_taken_back_by_name() -> None:
    made = with_generated(Env({"A": "1", "KEY": "mine"}), {"KEY": Secret("made"), "DATABASE_URL": Secret("postgres://x")})
    assert made.values == {"A": "1", "KEY": "made", "DATABASE_URL": "postgres://x"}
    assert made.protected == ("DATABASE_URL", "KEY")
    assert with_generated(made, {"KEY": Secret("made")}) == made
    back = with_generated(made, {}, ("KEY", "DATABASE_URL", "A"))
    assert (back.values, back.generated) == ({"A": "1"}, frozenset())


def test_too_much_together_is_refused() -> None:
    big = {f"K{number}": "x" * envs.LONGEST_VALUE for number in range(33)}
    with pytest.raises(InvalidParams) as refused:
        with_set(Env(), big, (), force=True)
    assert refused.value.code == "env_too_large"


def test_it_is_sealed_as_text_and_never_printed() -> None:
    env = Env({"A": "canary", "B": "\n한"}, frozenset({"A"}))
    assert Env.of(env.text()) == env
    assert "canary" not in repr(env)


def test_a_difference_names_what_was_added_changed_and_removed() -> None:
    made = difference({"A": "1", "B": "2", "C": "3"}, {"A": "1", "B": "9", "D": "4"})
    assert (made.added, made.changed, made.removed) == (("D",), ("B",), ("C",))
    assert made.lines == ["add D", "change B", "remove C"]
    assert not difference({"A": "1"}, {"A": "1"})


def test_versions_are_named_by_number_moment_or_master() -> None:
    at = datetime(2026, 1, 31, 10, 0, 0, 123000, tzinfo=UTC)
    assert which("master") is None
    assert which("12") == 12
    assert which("2026-01-31T11:00:00.123+01:00") == which(stamp(at)) == at
    assert which("20260131T100000Z") == at.replace(microsecond=999000)
    for text in ("", "0", "01", "-1", "Master", "1.5", "2026-01-31", "20261331T100000Z", "9" * 10, "1\n", "2026-02-30T00:00:00Z"):
        with pytest.raises(ValueError):
            which(text)


def test_each_version_is_later_than_the_one_before_whatever_the_clock_does() -> None:
    """P12."""
    now = datetime(2026, 3, 1, 12, 0, 0, 999999, tzinfo=UTC)
    first = next_moment(now, None)
    assert first.microsecond == 999000
    assert first < next_moment(now, first) < next_moment(now - timedelta(days=1), next_moment(now, first))
