"""Settings about who may come in: what is taken, what is refused, and that development stays on this machine."""

from pathlib import Path

import pytest

from codeb import config
from codeb.errors import InvalidParams
from codeb.model.limits import Rate
from codeb.wiring import policy_of


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CODEB_HOME", str(tmp_path))
    return tmp_path


def test_limits_are_on_and_development_is_off_unless_said() -> None:
    policy = policy_of(config.load())
    assert (policy.calls, policy.failures, policy.development) == (Rate(100, 60), Rate(20, 60), False)
    assert (config.load().proxies, config.load().origins) == ((), frozenset())


def test_limits_as_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODEB_RATE_LIMIT", "7/5")
    monkeypatch.setenv("CODEB_AUTH_FAILURES", "off")
    policy = policy_of(config.load())
    assert (policy.calls, policy.failures) == (Rate(7, 5), None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RATE_LIMIT", "100"), ("AUTH_FAILURES", "-1/60"), ("TRUSTED_PROXIES", "proxy"), ("TRUSTED_PROXIES", "0.0.0.0/0"),
        ("TRUSTED_PROXIES", "192.0.2.1/24"), ("ALLOWED_HOSTS", "*"), ("ALLOWED_HOSTS", "https://x.example"),
        ("ALLOWED_HOSTS", "UPPER.example"), ("ALLOWED_ORIGINS", "*"), ("ALLOWED_ORIGINS", "null"),
        ("ALLOWED_ORIGINS", "https://x.example/"), ("ALLOWED_ORIGINS", "x.example"), ("ENV", "dev"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"CODEB_{name}", value)
    with pytest.raises(InvalidParams, match=f"CODEB_{name}: ") as refused:
        config.load()
    assert refused.value.code == "bad_settings"


def test_lists_as_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODEB_TRUSTED_PROXIES", "192.0.2.1, 2001:db8::/32")
    monkeypatch.setenv("CODEB_ALLOWED_HOSTS", "codeb.example.com, 192.0.2.7:9101")
    monkeypatch.setenv("CODEB_ALLOWED_ORIGINS", "https://board.example.com")
    said = config.load()
    assert [str(each) for each in said.proxies] == ["192.0.2.1/32", "2001:db8::/32"]
    assert said.hosts == {"127.0.0.1", "codeb.example.com", "192.0.2.7:9101"}
    assert said.origins == {"https://board.example.com"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HOST", "0.0.0.0"), ("HOST", "192.0.2.1"), ("HOST", "::"), ("HOST", "codeb.example.com"),
        ("TRUSTED_PROXIES", "127.0.0.1"),
        ("ALLOWED_HOSTS", "codeb.example.com"), ("BASE_DOMAIN", "example.com"),
    ],
)  # fmt: skip
def test_development_refuses_whatever_others_could_reach(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv("CODEB_ENV", "development")
    monkeypatch.setenv(f"CODEB_{name}", value)
    with pytest.raises(InvalidParams, match=f"CODEB_{name}="):
        config.load()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.8.8.8"])
def test_development_on_loopback(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("CODEB_ENV", "development")
    monkeypatch.setenv("CODEB_HOST", host)
    assert policy_of(config.load()).development is True


def test_the_password_of_the_image_registry_is_shown_nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CODEB_HOME", str(tmp_path))
    monkeypatch.setenv("CODEB_IMAGE_REGISTRY_USER", "ci")
    monkeypatch.setenv("CODEB_IMAGE_REGISTRY_PASSWORD", "canary-4711")
    said = config.load()
    assert said.image_registry_password.reveal() == "canary-4711"
    rows = {row["variable"]: row["value"] for row in config.explained(said)}
    assert (rows["CODEB_IMAGE_REGISTRY_USER"], rows["CODEB_IMAGE_REGISTRY_PASSWORD"]) == ("ci", "…")
    assert "canary" not in repr(said) + str(rows)
    monkeypatch.setenv("CODEB_IMAGE_REGISTRY_PASSWORD", "canary-4711\nx")
    with pytest.raises(InvalidParams) as refused:
        config.load()
    assert "canary" not in refused.value.message


def test_the_file_of_a_source_tree_is_told_from_the_servers(home: Path) -> None:
    home.mkdir(exist_ok=True)
    (home / "codeb.toml").write_text('project = "shop"\nmemory_mb = 512\n')
    with pytest.raises(InvalidParams, match=r"memory_mb, project \(a source tree has a codeb.toml of its own"):
        config.load()
    (home / "codeb.toml").write_text("prot = 9101\n")
    with pytest.raises(InvalidParams, match="does not know: prot") as caught:
        config.load()
    assert "source tree" not in str(caught.value)
