"""The lowest free pair (P7)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeb.model.ports import Exhausted, Range, Ranges, lowest_free_pair

SPAN = Range(4100, 4120)


@given(st.sets(st.integers(4090, 4130)))
def test_it_is_the_lowest_whole_even_odd_pair_that_is_free(taken: set[int]) -> None:
    free = [even for even in range(4100, 4120, 2) if not {even, even + 1} & taken]
    if not free:
        with pytest.raises(Exhausted):
            lowest_free_pair(SPAN, taken)
    else:
        assert lowest_free_pair(SPAN, taken) == (free[0], free[0] + 1)


@given(st.integers(1, 60), st.integers(0, 40))
def test_pairs_lie_wholly_inside(first: int, length: int) -> None:
    span = Range(first, first + length)
    for even, odd in span.pairs():
        assert even % 2 == 0
        assert odd == even + 1
        assert even in span
        assert odd in span


def test_exhausted_names_range_and_number() -> None:
    with pytest.raises(Exhausted, match="no free pair of ports in 4100-4101: 1 of 2"):
        lowest_free_pair(Range(4100, 4101), {4101, 9999})


def test_a_range_of_one_has_no_pair() -> None:
    with pytest.raises(Exhausted):
        lowest_free_pair(Range(4100, 4100), ())


@pytest.mark.parametrize(("environment", "first"), [("production", 4100), ("staging", 4500), ("preview", 5000), ("pr-7", 5000)])
def test_each_environment_has_its_range(environment: str, first: int) -> None:
    assert Ranges().of(environment).first == first
