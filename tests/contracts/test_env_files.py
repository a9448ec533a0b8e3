"""The files of environment variables: one suite on every driver; then what only real files can go through (P10, S11, S21)."""

import contextlib
import json
import os
from datetime import timedelta
from pathlib import Path

import pytest

from codeb.contracts.envs import EnvCopy, EnvFiles
from codeb.drivers import beneath
from codeb.drivers.envs.files import FileEnvs
from codeb.drivers.envs.memory import MemoryEnvFiles
from codeb.drivers.files import Unsound
from codeb.errors import Unavailable
from codeb.model.envs import Difference, EnvVersion, stamp
from codeb.model.names import Place
from codeb.model.secret import Secret
from tests.stores import PROD, STAGE, START

pytestmark = pytest.mark.anyio

RUNTIME, BACKUP = "env/shop/.env.production", "env-backup/shop/production"


def copy(number: int = 1, place: Place = PROD) -> EnvCopy:
    at = START.replace(microsecond=0) + timedelta(minutes=number)
    version = EnvVersion(place, number, at, "main/owner/k", "set", 1, Difference(changed=("A",)))
    return EnvCopy(version, Secret(f"A='canary {number} 한'\n"), number == 1)


def files_of(driver: EnvFiles, home: Path) -> dict[str, str]:
    if isinstance(driver, MemoryEnvFiles):
        return dict(driver.files)
    there = [each for each in home.rglob("*") if each.is_file() and "backup-log" not in each.name]
    return {str(each.relative_to(home)): each.read_text() for each in there}


@pytest.fixture(params=["files", "memory"])
def driver(request: pytest.FixtureRequest, tmp_path: Path) -> EnvFiles:
    return FileEnvs(tmp_path) if request.param == "files" else MemoryEnvFiles()


async def test_the_newest_is_current_and_the_first_is_kept_for_good(driver: EnvFiles, tmp_path: Path) -> None:
    assert await driver.current(PROD) is None
    for each in (copy(1), copy(2), copy(2), copy(1), copy(7, STAGE)):
        await driver.keep(each.version.place, each)
    assert await driver.current(PROD) == copy(2).version.created_at
    first, second, stage = (each.text.reveal() for each in (copy(1), copy(2), copy(7)))
    marks = [stamp(copy(number).version.created_at) for number in (1, 2, 7)]
    assert files_of(driver, tmp_path) == {
        RUNTIME: second, f"{BACKUP}/current.env": second, f"{BACKUP}/master.env": first, f"{BACKUP}/{marks[0]}.env": first,
        f"{BACKUP}/{marks[1]}.env": second, "env/shop/.env.staging": stage, "env-backup/shop/staging/current.env": stage,
        f"env-backup/shop/staging/{marks[2]}.env": stage,
    }  # fmt: skip


async def test_nothing_is_left_of_a_project_that_is_removed(driver: EnvFiles, tmp_path: Path) -> None:
    blog = Place("blog", "production")
    for place in (PROD, STAGE, blog):
        await driver.keep(place, copy(1, place))
    for _ in range(2):
        await driver.remove("shop")
    assert await driver.current(PROD) is None
    assert {path.split("/")[1] for path in files_of(driver, tmp_path)} == {"blog"}


async def test_an_environment_that_is_removed_takes_its_files_and_no_others(driver: EnvFiles, tmp_path: Path) -> None:
    one, ten = Place("shop", "pr-1"), Place("shop", "pr-10")
    for place in (PROD, one, ten):
        await driver.keep(place, copy(1, place))
    if isinstance(driver, FileEnvs):
        (tmp_path / "env/shop/.env.pr-1").write_text("somebody's")
        assert await driver.current(one) is None, "so it is set aside"
    for _ in range(2):
        await driver.remove("shop", "pr-1")
    assert [await driver.current(place) is None for place in (PROD, one, ten)] == [False, True, False]
    left = {path.split("/")[-1] if path.startswith("env/") else path.split("/")[2] for path in files_of(driver, tmp_path)}
    assert left == {".env.production", "production", ".env.pr-10", "pr-10"}


# real files


@pytest.fixture
def files(tmp_path: Path) -> FileEnvs:
    return FileEnvs(tmp_path)


async def two(files: FileEnvs) -> None:
    await files.keep(PROD, copy(1))
    await files.keep(PROD, copy(2))


async def test_only_their_owner_may_read_them(files: FileEnvs, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        await two(files)
    finally:
        os.umask(before)
    for each in (*(tmp_path / "env").rglob("*"), *(tmp_path / "env-backup").rglob("*")):
        assert each.stat().st_mode & 0o077 == 0, each


async def test_the_log_says_who_wrote_what_when_and_no_value(files: FileEnvs, tmp_path: Path) -> None:
    await two(files)
    text = (tmp_path / BACKUP / "backup-log.json").read_text()
    said = json.loads(text)
    assert said["current"] == stamp(copy(2).version.created_at)
    assert [(each["version"], each["by"], each["action"], each["changed"]) for each in said["versions"].values()] == [
        (1, "main/owner/k", "set", ["A"]), (2, "main/owner/k", "set", ["A"]),
    ]  # fmt: skip
    assert "canary" not in text
    assert (tmp_path / BACKUP / "backup-log.json.prev").exists()


@pytest.mark.parametrize("name", [RUNTIME, f"{BACKUP}/current.env", f"{BACKUP}/master.env"])
@pytest.mark.parametrize("harm", ["edited", "gone", "a link", "a folder"])
async def test_what_somebody_did_to_a_file_is_noticed_kept_and_mended(
    files: FileEnvs, tmp_path: Path, name: str, harm: str
) -> None:
    await two(files)
    path, elsewhere = tmp_path / name, tmp_path / "elsewhere"
    right = path.read_text()
    elsewhere.write_text("not ours")
    if harm == "edited":
        path.write_text("A=mine\n")
    else:
        path.unlink()
    if harm == "a link":
        path.symlink_to(elsewhere)
    if harm == "a folder":
        path.mkdir()
    assert await files.current(PROD) is None
    for each in (copy(1), copy(2)):
        await files.keep(PROD, each)
    assert path.read_text() == right
    assert await files.current(PROD) == copy(2).version.created_at
    assert elsewhere.read_text() == "not ours"
    aside = path.with_name(f"{path.name}.damaged")
    assert os.path.lexists(aside) is (harm != "gone")
    if harm == "edited":
        assert aside.read_text() == "A=mine\n"


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"checksum": "x"}', b"\xff", b"[" * 100_000])
async def test_a_log_that_is_not_believed_is_kept_and_the_one_before_it_goes_on(
    files: FileEnvs, tmp_path: Path, text: bytes
) -> None:
    await two(files)
    log = tmp_path / BACKUP / "backup-log.json"
    log.write_bytes(text)
    await files.current(PROD)
    assert log.with_name("backup-log.json.damaged").read_bytes() == text
    for each in (copy(1), copy(2), copy(3)):
        await files.keep(PROD, each)
    assert await files.current(PROD) == copy(3).version.created_at
    assert len(json.loads(log.read_text())["versions"]) == 3


@pytest.mark.parametrize("folder", ["env", "env-backup", "env/shop", "env-backup/shop", "env-backup/shop/production"])
async def test_no_link_on_the_way_leads_out(files: FileEnvs, tmp_path: Path, folder: str) -> None:
    outside = tmp_path / "outside"
    for each in ("", "shop", "shop/production", "production"):
        (outside / each).mkdir(exist_ok=True)
    (outside / "precious").write_text("x")
    (tmp_path / folder).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / folder).symlink_to(outside)
    with pytest.raises(Unavailable) as refused:
        await files.keep(PROD, copy(1))
    assert refused.value.code == "env_files"
    if "/shop" in folder:
        await files.remove("shop")
        assert not os.path.lexists(tmp_path / "env" / "shop")
    assert sorted(each.name for each in outside.rglob("*")) == ["precious", "production", "production", "shop"]


async def test_what_a_death_left_half_written_is_removed(files: FileEnvs, tmp_path: Path) -> None:
    """P2: death after every single file of a version; our own newer files are no stranger's."""
    await two(files)
    real, left = beneath.replace, 0

    def dies(at: int, name: str, content: bytes) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            part = os.open(f".{name}.dead.tmp", os.O_WRONLY | os.O_CREAT, 0o600, dir_fd=at)
            os.write(part, content[: len(content) // 2])
            os.close(part)
            raise OSError(28, "No space left on device")
        real(at, name, content)

    for point in range(8):
        with pytest.MonkeyPatch.context() as patch:
            left = point
            patch.setattr(beneath, "replace", dies)
            with contextlib.suppress(Unavailable):
                await files.keep(PROD, copy(3 + point))
        again = FileEnvs(tmp_path)
        await again.current(PROD)
        assert not [each for each in tmp_path.rglob("*") if each.name.endswith(".tmp")]
        await again.keep(PROD, copy(3 + point))
        assert await again.current(PROD) == copy(3 + point).version.created_at
        assert not [each for each in tmp_path.rglob("*") if "damaged" in each.name]


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc", "a\0"])
def test_a_name_that_is_a_path_is_refused(tmp_path: Path, name: str) -> None:
    with beneath.folder(tmp_path) as at:
        for verb in (
            lambda: beneath.read(at, name, {os.geteuid()}),
            lambda: beneath.replace(at, name, b""),
            lambda: beneath.remove(at, name),
        ):
            with pytest.raises(Unsound):
                verb()
