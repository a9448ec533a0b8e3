"""The sliding window: exact over every stretch of time, bounded in memory (S30, S33)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeb.gate.limits import Sliding, neighbourhood
from codeb.model.limits import Rate, rate

GAPS = st.lists(st.one_of(st.sampled_from([0.0, 0.001, 1.0, 9.999, 10.0, 10.001]), st.floats(0, 25)), min_size=1, max_size=80)


@given(GAPS, st.integers(1, 6))
def test_the_same_as_counting_all_calls_of_the_last_seconds(gaps: list[float], calls: int) -> None:
    """Against a list of everything; and in the end no stretch of 10 s has more calls than allowed."""
    window, now, let_in = Sliding(Rate(calls, 10), 10), 1000.0, list[float]()
    for gap in gaps:
        now += gap
        recent = [at for at in let_in if at > now - 10]
        said = window.take("key", now)
        assert said.granted is (len(recent) < calls)
        if said.granted:
            let_in.append(now)
            recent.append(now)
        assert (said.limit, said.remaining) == (calls, calls - len(recent))
        assert -1e-6 <= said.reset - (recent[0] + 10 - now) <= 1 + 1e-6
    for start in let_in:
        assert sum(start <= at < start + 10 - 1e-6 for at in let_in) <= calls


def test_no_burst_of_two_hundred_at_a_border() -> None:
    """A fixed window would let in a hundred before a full minute and a hundred after it."""
    window = Sliding(Rate(100, 60), 10)
    assert sum(window.take("key", 59.0 + each / 1000).granted for each in range(100)) == 100
    assert not any(window.take("key", at).granted for at in (59.2, 60.0, 61.0, 118.99))
    assert window.take("key", 119.0).granted
    assert not window.take("key", 119.0).granted, "the place of one call is one place"


def test_who_is_refused_does_not_wait_longer_for_asking() -> None:
    window = Sliding(Rate(1, 60), 10)
    assert window.take("key", 0.0).granted
    assert [window.take("key", float(at)).reset for at in (1, 30, 59)] == [59, 30, 1]
    assert window.take("key", 60.0).granted


def test_callers_do_not_share_and_the_silent_are_forgotten() -> None:
    window = Sliding(Rate(1, 60), 1000)
    assert all(window.take(f"key{each}", 0.0).granted for each in range(500))
    for each in range(500):
        window.take(f"later{each}", 61.0 + each)
    assert len(window) <= 70, "only those of the last minute are left"


def test_there_is_an_end_to_how_many_are_remembered() -> None:
    window = Sliding(Rate(5, 60), 100)
    for each in range(5000):
        window.take(f"peer{each}", each / 1e6)
    assert len(window) <= 100
    assert [window.take("peer4999", 1.0).granted for _ in range(5)] == [True] * 4 + [False], "the newest are not forgotten"


def test_whoever_was_let_in_longest_ago_is_forgotten_first() -> None:
    window = Sliding(Rate(5, 60), 3)
    for at, who in enumerate(("first", "second", "third", "first", "fourth")):
        window.take(who, float(at))
    assert window.take("first", 5.0).remaining == 2, "it came first, and again later"
    assert window.take("second", 6.0).remaining == 4


@pytest.mark.parametrize(
    ("ip", "group"),
    [
        ("192.0.2.7", "192.0.2.7"), ("::ffff:192.0.2.7", "192.0.2.7"), ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"), ("fe80::1%eth0", "fe80::/64"), (None, "unknown"), ("x", "unknown"),
    ],
)  # fmt: skip
def test_an_ipv6_network_is_one_peer(ip: str | None, group: str) -> None:
    assert neighbourhood(ip) == group


@pytest.mark.parametrize(("text", "wanted"), [("100/60", Rate(100, 60)), ("1/1", Rate(1, 1)), ("off", None), ("0", None)])
def test_a_rate_in_words(text: str, wanted: Rate | None) -> None:
    assert rate(text) == wanted


@pytest.mark.parametrize(
    "text", ["", "100", "100/", "/60", "0/60", "100/0", "-1/60", "100/60 ", "1e2/60", "100/60\n", "٣/60", "100001/60", "1/3601"]
)
def test_what_is_no_rate(text: str) -> None:
    with pytest.raises(ValueError, match="CALLS/SECONDS"):
        rate(text)
