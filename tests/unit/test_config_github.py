"""Settings of GitHub: none unless there is a token, which is shown nowhere (S11), and whose repositories a team may use."""

from pathlib import Path

import pytest

from codeb import config
from codeb.errors import InvalidParams
from codeb.model.secret import Secret
from codeb.wiring import policy_of, pulls_of

CANARY = "github-canary-0123456789"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CODEB_HOME", str(tmp_path))
    return tmp_path


def test_there_is_none_unless_a_token_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert pulls_of(config.load()) is None
    monkeypatch.setenv("CODEB_GITHUB_TOKEN", CANARY)
    assert type(pulls_of(config.load())).__name__ == "GithubPulls"


def test_the_token_is_shown_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODEB_GITHUB_TOKEN", CANARY)
    said = config.load()
    assert said.github_token == Secret(CANARY)
    assert CANARY not in str(config.explained(said)) + repr(said) + str(said)
    assert {each["variable"]: each["value"] for each in config.explained(said)}["CODEB_GITHUB_TOKEN"] == "…"
    monkeypatch.setenv("CODEB_GITHUB_TOKEN", f"{CANARY} \n")
    with pytest.raises(InvalidParams) as refused:
        config.load()
    assert CANARY not in str(vars(refused.value))


def test_whose_repositories_a_team_may_use_is_a_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODEB_GITHUB_REPOSITORIES", "rival=acme/blog, other=acme/*")
    assert policy_of(config.load()).repositories == (("rival", "acme/blog"), ("other", "acme/*"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("URL", "http://git.example.com/api/v3"), ("URL", "https://user@git.example.com"), ("URL", "ftp://git.example.com"),
        ("REPOSITORIES", "acme/blog"), ("REPOSITORIES", "rival=*"), ("TOKEN", "two words"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_told_by_its_name(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"CODEB_GITHUB_{name}", value)
    with pytest.raises(InvalidParams, match=f"CODEB_GITHUB_{name}"):
        config.load()
