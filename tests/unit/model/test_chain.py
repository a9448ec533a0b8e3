"""P14: the audit log is a chain: whatever is done to written rows is found, and a process knows where to go on."""

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeb.model.chain import MOST_FAULTS, ZERO, AuditRow, Head, Span, Walk, after, canonical, followed, goes_on, hash_of

START = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
WORDS = st.text(max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)
ROWS = st.builds(
    AuditRow,
    at=st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(UTC)),
    correlation_id=WORDS, entry=WORDS, tool=WORDS, ok=st.booleans(), code=WORDS, key_id=st.none() | WORDS,
    team=st.none() | WORDS, role=st.none() | WORDS, ip=st.none() | WORDS, duration_ms=st.floats(0, 1e6),
    params=st.dictionaries(WORDS, JSON, max_size=3), summary=WORDS,
)  # fmt: skip


def row(number: int, **more: Any) -> AuditRow:
    base = AuditRow(START, f"c{number}", "http", "deploy", True, "", "key_1", "acme", "member", None, 1.5, {"n": number}, "said")
    return replace(base, **more)


def chained(rows: list[AuditRow]) -> list[AuditRow]:
    made, head = list[AuditRow](), Head("home", 0, ZERO)
    for each in rows:
        made.append(after(head, each))
        head = made[-1].head
    return made


def walked(rows: list[AuditRow], pruned: Head | None = None, known: tuple[Head, ...] = ()) -> Walk:
    walk = Walk("home", pruned, known)
    for each in rows:
        walk.see(each)
    walk.end()
    return walk


@given(st.lists(ROWS, max_size=6))
def test_what_was_written_is_whole(rows: list[AuditRow]) -> None:
    made = chained(rows)
    walk = walked(made, known=(made[-1].head,) if made else ())
    assert (walk.whole, walk.rows, walk.first, walk.last and walk.last.seq) == (
        True, len(rows), 1 if rows else None, len(rows) or None,
    )  # fmt: skip


CHANGES: dict[str, Any] = {
    "at": lambda at: at + timedelta(microseconds=1), "ok": lambda ok: not ok, "duration_ms": lambda ms: ms + 1,
    "params": lambda params: {**params, "x": len(params)}, "seq": lambda seq: seq + 1, "chain": lambda name: f"{name}x",
}  # fmt: skip
NAMES = [each.name for each in fields(AuditRow)]


@given(st.lists(ROWS, min_size=1, max_size=5), st.data())
def test_any_single_alteration_is_found(rows: list[AuditRow], data: st.DataObject) -> None:
    """P14: of any field of any row, the links and the hash too."""
    made = chained(rows)
    at = data.draw(st.integers(0, len(made) - 1))
    name = data.draw(st.sampled_from(NAMES))
    change = CHANGES.get(name, lambda text: "x" if text is None else text + "x")
    made[at] = replace(made[at], **{name: change(getattr(made[at], name))})
    assert not walked(made, known=(Head("home", len(made), chained(rows)[-1].hash or ""),)).whole


@pytest.mark.parametrize("name", NAMES)
def test_every_field_of_a_row_counts(name: str) -> None:
    """P14: each by itself, whatever the examples drawn above."""
    made = chained([row(1), row(2), row(3)])
    change = CHANGES.get(name, lambda text: "x" if text is None else text + "x")
    made[1] = replace(made[1], **{name: change(getattr(made[1], name))})
    assert not walked(made).whole


@pytest.mark.parametrize("name", ["chain", "seq", "prev"])
def test_the_hash_of_a_row_covers_its_place(name: str) -> None:
    """P14: so a row, or all from the first on, cannot go elsewhere under the hash that was noted."""
    one = after(Head("home", 1, "a" * 64), row(1))
    other = {"chain": "other", "seq": 3, "prev": "b" * 64}[name]
    assert hash_of(replace(one, **{name: other})) != hash_of(one) == one.hash


@given(st.lists(ROWS, min_size=1, max_size=6), st.data())
def test_a_removal_a_swap_an_insertion_and_a_cut_are_found(rows: list[AuditRow], data: st.DataObject) -> None:
    made = chained(rows)
    known = (made[-1].head,)
    at = data.draw(st.integers(0, len(made) - 1))
    assert not walked(made[:at] + made[at + 1 :], known=known).whole, "a removal"
    assert not walked(made[:at], known=known).whole, "a cut"
    assert not walked([*made[: at + 1], made[at], *made[at + 1 :]], known=known).whole, "one that is there twice"
    strange = after(made[at - 1].head if at else Head("home", 0, ZERO), row(77))
    assert not walked([*made[:at], strange, *made[at:]], known=known).whole, "an insertion"
    forged = chained([*rows[:at], row(78), *rows[at:]])
    assert not walked(forged, known=known).whole, "an insertion with all hashes after it made anew"
    if len(made) > 1:
        other = data.draw(st.integers(0, len(made) - 1).filter(lambda each: each != at))
        made[at], made[other] = made[other], made[at]
        assert not walked(made, known=known).whole, "a swap"


def test_each_kind_of_harm_is_named() -> None:
    made = chained([row(number) for number in range(6)])
    assert [(each.seq, each.problem) for each in walked(made[:2] + made[4:]).faults] == [(3, "rows 3 to 4 are missing")]
    assert walked(made[:1] + made[2:]).faults[0].problem == "row 2 is missing"
    altered = [*made[:3], replace(made[3], summary="nothing"), *made[4:]]
    assert [(each.seq, each.problem) for each in walked(altered).faults] == [(4, "was altered")]
    hidden = replace(made[3], summary="nothing")
    hidden = replace(hidden, hash=hash_of(hidden))
    assert [each.problem for each in walked([*made[:3], hidden, *made[4:]]).faults] == ["does not follow the row before it"]
    cut = walked(made[:4], known=(made[5].head,))
    assert [(each.seq, each.problem) for each in cut.faults] == [
        (5, "rows 5 to 6 had been written, and the end of the chain is missing")
    ]
    assert walked(made[3:]).faults[0].problem == "rows 1 to 3 are missing"
    many = walked([replace(each, summary="x") for each in chained([row(number) for number in range(30)])])
    assert (len(many.faults), many.more) == (MOST_FAULTS, 10)


def faults(*rows: AuditRow) -> list[tuple[int, str]]:
    return [(each.seq, each.problem) for each in walked(list(rows)).faults]


def test_a_row_whose_own_hash_is_right_has_to_be_of_this_chain_and_of_this_number() -> None:
    """P14: whoever forges a row can make its hash anew."""
    made = chained([row(1), row(2), row(3)])
    strange = after(Head("other", 3, made[2].hash or ""), row(4))
    assert faults(*made, strange) == [(4, "does not belong here")]
    again = after(Head("home", 1, made[2].hash or ""), row(4))
    assert faults(*made, again) == [(2, "does not belong here")]
    assert faults(*made, after(made[2].head, row(4))) == []


def test_a_first_row_follows_nothing_or_what_it_says() -> None:
    """P14: also the beginning is linked."""
    forged = after(Head("home", 0, "f" * 64), row(1))
    assert faults(forged) == [(1, "does not follow the row before it")]
    said = row(1, tool="audit_chain", params={"follows": vars(END)})
    assert faults(after(Head("home", 0, END.hash), said)) == []
    assert faults(after(Head("home", 0, ZERO), said)) == [(1, "does not follow the row before it")]


def test_what_was_pruned_does_not_break_it() -> None:
    made = chained([row(number) for number in range(6)])
    assert walked(made[3:], made[2].head).whole
    assert walked([], made[5].head, known=(made[4].head, made[5].head)).whole
    assert not walked([], made[4].head, known=(made[5].head,)).whole
    assert not walked(made[3:], replace(made[2].head, hash=ZERO)).whole
    assert not walked([], made[5].head, known=(replace(made[5].head, hash=ZERO),)).whole


def test_what_no_database_can_hold_is_replaced_before_it_is_hashed() -> None:
    made = after(Head("home", 0, ZERO), row(1, summary="a\0b\ud800", ip=None))
    assert made.summary == "a\ufffdb\ufffd"
    assert after(Head("home", 0, ZERO), row(1, summary="a\0b")).summary == "a\ufffdb"
    kept = after(Head("home", 0, ZERO), row(1, params={"a\0": ["b\0", {"c": "d\0"}, 1]})).params
    assert kept == {"a\ufffd": ["b\ufffd", {"c": "d\ufffd"}, 1]}
    assert walked([made]).whole


def test_one_form_whatever_zone_or_order_it_comes_in() -> None:
    one = row(1, params={"a": 1, "b": [1.5, None]}, at=START.astimezone(UTC))
    assert canonical(one) == canonical(replace(one, params={"b": [1.5, None], "a": 1}, duration_ms=1.5))
    assert canonical(one) == canonical(replace(one, at=START.astimezone(timezone(timedelta(hours=9)))))


def test_a_duration_is_kept_as_every_copy_of_the_registry_keeps_it() -> None:
    assert after(Head("home", 0, ZERO), row(1, duration_ms=0.123456789)).duration_ms == 0.123


# where it goes on


END = Head("home", 7, "e" * 64)
SPAN = Span("home", 1, END, place=70)


@pytest.mark.parametrize(
    ("kept", "spans", "there", "head", "reason", "follows"),
    [
        (None, [], False, Head("home", 0, ZERO), "", None),
        (END, [SPAN], True, END, "", None),
        (Head("home", 5, "d"), [SPAN], True, END, "", None),
        (END, [SPAN, Span("home2", 1, Head("home2", 9, "f"), place=99)], True, END, "", None),
        (END, [SPAN, Span("other", 1, Head("other", 9, "f"), place=99)], True, END, "", None),
        (END, [Span("home", 0, None, END)], True, END, "", None),
        (END, [Span("home", 1, Head("home", 4, "c"), place=40)], False, Head("home.b2", 0, END.hash), "tail_missing", END),
        (END, [], False, Head("home.b2", 0, END.hash), "tail_missing", END),
        (None, [SPAN], False, Head("home.b2", 0, END.hash), "head_lost", END),
        (END, None, False, Head("home.b2", 0, END.hash), "without_database", END),
        (None, None, False, Head("home.b2", 0, ZERO), "without_database", None),
        (END, [SPAN, Span("home.b1", 1, Head("home.b1", 3, "a"), place=90)], True, Head("home.b1", 3, "a"), "", None),
    ],
)  # fmt: skip
def test_where_a_process_goes_on(kept: Any, spans: Any, there: bool, head: Head, reason: str, follows: Any) -> None:
    start = goes_on("home", "b2", kept, spans, there)
    assert (start.head, start.reason, start.follows) == (head, reason, follows)
    opening = start.opening(START)
    assert (opening is None) == (not reason)
    if opening is not None:
        made = after(start.head, opening)
        assert followed(made) == follows
        walk = Walk("home.b2")
        walk.see(made)
        assert walk.whole


def test_only_a_first_row_of_that_kind_follows_another_chain() -> None:
    told = {"follows": vars(END)}
    assert followed(row(1, tool="audit_chain", seq=1, params=told)) == END
    for wrong in (
        row(1, tool="deploy", seq=1, params=told), row(1, tool="audit_chain", seq=2, params=told),
        *(
            row(1, tool="audit_chain", seq=1, params={"follows": {**vars(END), **other}})
            for other in ({"seq": "7"}, {"seq": True}, {"chain": 7}, {"hash": None}, {"more": 1})
        ),
        row(1, tool="audit_chain", seq=1, params={"follows": {"chain": "home", "seq": 7}}),
        row(1, tool="audit_chain", seq=1, params={"follows": "x"}), row(1, tool="audit_chain", seq=1, params={"follows": 7}),
        row(1, tool="audit_chain", seq=1, params={"follows": ["chain", "seq", "hash"]}), row(1, tool="audit_chain", seq=1),
    ):  # fmt: skip
        assert followed(wrong) is None
