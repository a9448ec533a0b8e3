"""The grammar of repositories, which of them a team may use, and how a stranger's text is shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeb.model.pulls import MOST_NUMBER, PullState, commit, granted, grants, legible, repository
from codeb.model.refs import writable


@pytest.mark.parametrize("text", ["acme/shop", "A/b", "a-b/.github", "acme/shop.js", "acme/a_b-c", "a/" + "b" * 100])
def test_a_repository_is_owner_and_name(text: str) -> None:
    assert repository(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "", "shop", "acme/", "/shop", "acme/shop/x", "acme/..", "acme/.", "acme/shop.git", "acme/shop.GIT", "-a/b", "a-/b",
        "a--b/c",
        "a_b/c", "a/b?x=1", "a/b#c", "a/%2e%2e", "a/b c", "acme/shop\n", "é/b", "a/é", "a/" + "b" * 101, "a" * 41 + "/b", "a/_",
        "https://git.example.com/acme/shop",
    ],
)  # fmt: skip
def test_what_is_no_repository_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="owner/name"):
        repository(text)


def test_a_grant_is_for_one_team_and_its_repositories() -> None:
    given_ = grants("rival=acme/blog, other=Acme/*")
    assert [granted(given_, "rival", each) for each in ("acme/blog", "ACME/Blog", "acme/shop", "acme/blog2")] == [
        True, True, False, False,
    ]  # fmt: skip
    assert [granted(given_, "other", each) for each in ("acme/shop", "acme2/shop", "x/acme")] == [True, False, False]
    assert not granted(given_, "acme", "acme/blog")
    assert not granted((), "rival", "acme/blog")
    assert grants("") == ()


@pytest.mark.parametrize("text", ["acme/blog", "rival=", "rival=*", "rival=*/*", "=a/b", "Rival=a/b", "a=b/c=d", "a=b/*x"])
def test_what_is_no_grant_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="owner/name"):
        grants(text)


@pytest.mark.parametrize("text", ["HEAD", "0" * 39, "0" * 41, "A" * 40, "0" * 40 + "\n", ""])
def test_a_commit_is_its_whole_name(text: str) -> None:
    assert commit("0a" * 20) == "0a" * 20
    with pytest.raises(ValueError, match="whole name"):
        commit(text)


@given(st.text(max_size=60), st.booleans())
def test_a_strangers_text_has_no_control_characters_and_an_end(text: str, lines: bool) -> None:
    """S25."""
    shown = legible(text, 20, lines=lines)
    assert len(shown) <= 20
    assert all(writable(each) or (lines and each in "\n\t") for each in shown)
    plain = all(map(writable, text))
    assert not plain or len(text) > 20 or shown == text


def test_only_what_is_known_to_be_over_is_gone() -> None:
    assert [state for state in PullState if state.gone] == [PullState.CLOSED, PullState.MERGED]
    assert len(str(MOST_NUMBER)) == 9
