"""The settings: the address of a database is a secret wherever it is said, and one that is refused is not repeated (S11)."""

import json
import os
import pickle
from pathlib import Path

import pytest
from pydantic import ValidationError

from codeb import config
from codeb.config import Settings
from codeb.drivers.store.postgres import open_postgres
from codeb.entry.doctor import database, vault
from codeb.errors import InvalidParams

CANARY = "canary-4711"
ADDRESSES = {
    f"postgresql://u:{CANARY}@192.0.2.1:5432/d": "postgresql://u:…@192.0.2.1:5432/d",
    f"postgresql://:{CANARY}@192.0.2.1/d": "postgresql://:…@192.0.2.1/d",
    f"postgresql+psycopg://u:a/b?c#d:{CANARY}%40@192.0.2.1/d": "postgresql+psycopg://u:…@192.0.2.1/d",
    f"postgresql://u:{CANARY}@[2001:db8::1]:5432/d?sslmode=require": "postgresql://u:…@[2001:db8::1]:5432/d?sslmode=require",
    f"postgresql:///d?host=/run/postgresql&password={CANARY}": "postgresql:///d?host=/run/postgresql&password=…",
    f"postgresql://192.0.2.1/d?PASSWORD={CANARY}&user=u": "postgresql://192.0.2.1/d?PASSWORD=…&user=…",
    f"postgresql://192.0.2.1/d?{CANARY}": "postgresql://192.0.2.1/d?…",
    f"mysql://u:{CANARY}@192.0.2.1/d": "mysql://u:…@192.0.2.1/d",
    "postgresql://u@192.0.2.1/d": "postgresql://u@192.0.2.1/d",
    "postgresql://192.0.2.1/d": "postgresql://192.0.2.1/d",
    "sqlite:////tmp/x@y/codeb.db": "sqlite:////tmp/x@y/codeb.db",
}
WRONG = [
    f"postgresql://u:{CANARY}@x@192.0.2.1/d",
    f"postgresql://u:x@{CANARY}@192.0.2.1/d",
    f"postgresql://u:x@{CANARY}/y?z@192.0.2.1/d",
    f"postgresql://u:{CANARY}/d",
    f"postgresql://u:x@192.0.2.1:{CANARY}/d",
    f"postgresql://u:x@192.0.2.1/d#{CANARY}",
    f"postgresql://u:x@192.0.2.1/d\n{CANARY}",
    f"postgresql:u:{CANARY}@192.0.2.1/d",
    f" postgresql://u:{CANARY}@192.0.2.1/d",
    CANARY,
]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("CODEB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("CODEB_HOME", str(tmp_path))
    return tmp_path


def by(source: str, home: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if source == "environment":
        monkeypatch.setenv("CODEB_DATABASE_URL", text)
    else:
        (home / "codeb.toml").write_text(f"database_url = {json.dumps(text)}\n")


@pytest.mark.parametrize("source", ["environment", "codeb.toml"])
@pytest.mark.parametrize("text", ADDRESSES)
def test_the_address_of_a_database_is_shown_without_its_password(
    home: Path, text: str, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    by(source, home, text, monkeypatch)
    settings = config.load()
    assert settings.store_url.reveal() == text
    row = next(each for each in config.explained(settings) if each["variable"] == "CODEB_DATABASE_URL")
    assert (row["value"], row["from"]) == (ADDRESSES[text], source)
    shown = f"{settings!r} {settings} {settings.model_dump()} {settings.store_url!r} {vars(settings)}"
    assert text not in shown
    assert CANARY not in shown
    with pytest.raises(TypeError):
        pickle.dumps(settings)


@pytest.mark.parametrize("source", ["environment", "codeb.toml"])
@pytest.mark.parametrize("text", WRONG)
def test_one_that_is_refused_is_not_in_the_refusal(home: Path, text: str, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    by(source, home, text, monkeypatch)
    with pytest.raises(InvalidParams, match="CODEB_DATABASE_URL: it is postgresql://user:password@host") as refused:
        config.load()
    assert CANARY not in f"{refused.value} {refused.value!r} {vars(refused.value)} {refused.value.__cause__}"
    with pytest.raises(ValidationError) as raw:
        Settings(home=home, database_url=text)
    assert CANARY not in str(raw.value)


def test_one_that_is_no_text_is_refused(home: Path) -> None:
    (home / "codeb.toml").write_text("database_url = 4711\n")
    with pytest.raises(InvalidParams, match="CODEB_DATABASE_URL: the address of a database is a text"):
        config.load()


@pytest.mark.parametrize(
    "text", [text for text in ADDRESSES if text.startswith("postgres") and (":c" in text or "&password=" in text)]
)
def test_what_opens_it_does_not_show_the_password_either(text: str) -> None:
    opened = open_postgres(text)
    assert CANARY not in f"{opened.about} {opened.url!r} {opened.url} {opened.migrating()!r}"
    assert CANARY in str(opened.url.password), "and it is still said to the server"


@pytest.mark.anyio
@pytest.mark.parametrize(
    "address", ["postgresql://u:{}@127.0.0.1:1/d", "postgres://127.0.0.1:1/d?password={}&user=u", "mysql://u:{}@h/d"]
)
async def test_the_doctor_does_not_repeat_it(home: Path, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODEB_DATABASE_URL", address.format(CANARY))
    settings = config.load()
    found = [*await database.check(settings), *await vault.check(settings)]
    assert found[0].status == "fail"
    assert CANARY not in repr(found)
