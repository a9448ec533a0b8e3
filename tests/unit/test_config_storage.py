"""The addresses of the storage servers: what is one, and that their passwords are shown nowhere (S11)."""

from pathlib import Path

import pytest

from codeb import config
from codeb.errors import InvalidParams
from codeb.wiring import policy_of

CANARY = "canary-4711"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("STORAGE_DATABASE_URL", f"postgresql://admin:{CANARY}@db.example.com:5432/postgres"),
        ("STORAGE_DATABASE_URL", f"postgres://admin:{CANARY}@192.0.2.7"),
        ("STORAGE_REDIS_URL", f"redis://admin:{CANARY}@192.0.2.7:6379"),
        ("STORAGE_REDIS_URL", f"rediss://admin:{CANARY}@[2001:db8::7]:6379/0"),
    ],
)
def test_an_address_is_taken_and_shown_without_its_password(
    name: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEB_HOME", str(tmp_path))
    monkeypatch.setenv(f"CODEB_{name}", said)
    settings = config.load()
    assert getattr(settings, name.lower()).reveal() == said
    rows = config.explained(settings)
    (row,) = [each for each in rows if each["variable"] == f"CODEB_{name}"]
    assert (row["from"], "admin:…@" in row["value"]) == ("environment", True)
    assert CANARY not in str(rows) + repr(settings)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("STORAGE_DATABASE_URL", f"redis://admin:{CANARY}@192.0.2.7"),
        ("STORAGE_DATABASE_URL", f"sqlite:///{CANARY}"),
        ("STORAGE_DATABASE_URL", f"host=192.0.2.7 password={CANARY}"),
        ("STORAGE_REDIS_URL", f"postgresql://admin:{CANARY}@192.0.2.7"),
        ("STORAGE_REDIS_URL", f"unix:///run/redis.sock?password={CANARY}"),
        ("STORAGE_REDIS_URL", f"redis://admin:{CANARY}@a@192.0.2.7"),
    ],
)
def test_another_one_is_refused_without_repeating_it(
    name: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEB_HOME", str(tmp_path))
    monkeypatch.setenv(f"CODEB_{name}", said)
    with pytest.raises(InvalidParams) as refused:
        config.load()
    assert f"CODEB_{name}" in refused.value.message
    assert CANARY not in refused.value.message


def test_none_is_set_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODEB_HOME", str(tmp_path))
    settings = config.load()
    assert (settings.storage_database_url.reveal(), settings.storage_redis_url.reveal()) == ("", "")
    values = {each["variable"]: each["value"] for each in config.explained(settings)}
    assert (values["CODEB_STORAGE_DATABASE_URL"], values["CODEB_STORAGE_REDIS_URL"]) == ("", "")


def test_ranges_and_images_of_containers_of_storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODEB_HOME", str(tmp_path))
    policy = policy_of(config.load())
    assert (str(policy.ranges.postgres), str(policy.ranges.redis)) == ("5432-5499", "6379-6499")
    monkeypatch.setenv("CODEB_PORTS_POSTGRES", "15432-15499")
    monkeypatch.setenv("CODEB_POSTGRES_IMAGE", "registry.example.com/postgres:15.9")
    policy = policy_of(config.load())
    assert (str(policy.ranges.postgres), policy.postgres_image) == ("15432-15499", "registry.example.com/postgres:15.9")
    for name, text in (("POSTGRES_IMAGE", "-v /:/host"), ("REDIS_IMAGE", ""), ("PORTS_REDIS", "6379")):
        with monkeypatch.context() as bad:
            bad.setenv(f"CODEB_{name}", text)
            with pytest.raises(InvalidParams, match=f"CODEB_{name}"):
                config.load()
