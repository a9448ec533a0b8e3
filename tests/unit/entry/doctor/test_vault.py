"""What `we doctor` says of the master key: each fault is really there, is named, and its repair with it (S11)."""

import os
import subprocess
from pathlib import Path

import pytest

from codeb.config import Settings
from codeb.drivers.store.sql import open_store
from codeb.drivers.vault.aesgcm import AesGcmVault
from codeb.drivers.vault.keyfile import KeyFile
from codeb.entry.doctor import vault
from codeb.model.specs import Finding
from tests.stores import Clock

pytestmark = pytest.mark.anyio


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name in [name for name in os.environ if name.startswith("CODEB_")]:
        monkeypatch.delenv(name)
    tmp_path.chmod(0o750)
    return Settings(home=tmp_path)


def key(settings: Settings) -> str:
    """Made, or one more; its id."""
    made = AesGcmVault(KeyFile(settings.home, settings.master_key_file))
    made.read()
    made.begin()
    return made.ids[0]


async def name_it(settings: Settings, key_id: str | None) -> None:
    """Have the registry say that this one is in force."""
    store = await open_store(settings.store_url.reveal(), mirror=None, now=Clock())
    if key_id is not None:
        async with store.write() as registry:
            await registry.seals.use(key_id)
    await store.close()


async def said(settings: Settings) -> Finding:
    (found,) = await vault.check(settings)
    assert found.fix or found.status == "pass"
    return found


async def test_before_the_first_start_nothing_is_wrong(settings: Settings) -> None:
    assert (await said(settings)).status == "pass"
    await name_it(settings, None)
    assert (await said(settings)).status == "pass"


async def test_the_registrys_own_is_well_and_not_shown(settings: Settings) -> None:
    await name_it(settings, made := key(settings))
    found = await said(settings)
    assert (found.status, made in found.text) == ("pass", True)
    assert settings.master_key.read_text().strip() not in repr(found)


async def test_one_that_is_gone_is_named(settings: Settings) -> None:
    await name_it(settings, made := key(settings))
    settings.master_key.unlink()
    found = await said(settings)
    assert found.status == "fail"
    assert made in found.text
    assert str(settings.master_key) in found.fix


async def test_another_homes_is_no_use(settings: Settings) -> None:
    made = key(settings)
    await name_it(settings, "0" * 16)
    found = await said(settings)
    assert found.status == "fail"
    assert made in found.text
    assert "0" * 16 in found.text


async def test_one_that_others_may_read_is_mended_by_what_it_says(settings: Settings) -> None:
    await name_it(settings, key(settings))
    settings.master_key.chmod(0o644)
    found = await said(settings)
    assert (found.status, "0644" in found.text) == ("fail", True)
    subprocess.run(found.fix.split(), check=True)
    assert (await said(settings)).status == "pass"


async def test_a_change_that_did_not_end_is_said(settings: Settings) -> None:
    await name_it(settings, key(settings))
    key(settings)
    found = await said(settings)
    assert (found.status, found.fix) == ("warn", "we keys rotate-master")


async def test_a_registry_that_cannot_be_asked_is_no_fault_of_the_key(settings: Settings) -> None:
    (settings.home / "codeb.db").write_bytes(b"no database" * 500)
    found = await said(settings)
    assert (found.status, "cannot be asked" in found.text) == ("warn", True)
    key(settings)
    assert (await said(settings)).status == "pass"


async def test_a_file_elsewhere_is_looked_at_there(settings: Settings, tmp_path: Path) -> None:
    elsewhere = tmp_path / "kept" / "codeb.key"
    elsewhere.parent.mkdir(mode=0o700)
    moved = Settings(home=settings.home, master_key_file=elsewhere)
    await name_it(moved, key(moved))
    assert not settings.master_key.exists()
    assert (await said(moved)).status == "pass"
    elsewhere.chmod(0o640)
    assert str(elsewhere) in (await said(moved)).fix


async def test_a_registry_on_a_server_that_is_away_is_no_fault_of_the_key(settings: Settings) -> None:
    away = Settings(home=settings.home, database_url="postgresql://u:hidden-4711@127.0.0.1:1/d")
    assert (await said(away)).status == "warn"
    key(away)
    found = await said(away)
    assert (found.status, "hidden-4711" in repr(found)) == ("pass", False)
