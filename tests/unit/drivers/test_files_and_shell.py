"""Files that are old or new, marker bits in their order, and processes without a shell. Shows S1."""

import asyncio
import os
from pathlib import Path

import pytest

from codeb.drivers import files, shell
from codeb.drivers.files import atomic_write
from codeb.drivers.proxy import markers, process
from codeb.errors import Unavailable
from codeb.model.names import Slot
from codeb.model.specs import Live


def test_atomic_write_replaces_whole_with_the_mode_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "a"
    atomic_write(file, b"one", 0o600)
    atomic_write(file, b"two", 0o644)
    assert file.read_bytes() == b"two"
    assert file.stat().st_mode & 0o777 == 0o644
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    file = tmp_path / "a"
    atomic_write(file, b"old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    if call == "replace":
        monkeypatch.setattr(Path, "replace", full)
    else:
        monkeypatch.setattr(files.os, "fsync" if call == "fsync" else "fchmod", full)
    with pytest.raises(OSError, match="No space"):
        atomic_write(file, b"new")
    assert file.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_durable_in_the_right_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """File synced before the rename, folder after it."""
    seen: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def synced(handle: int) -> None:
        seen.append("folder" if Path(f"/proc/self/fd/{handle}").resolve().is_dir() else "file")
        fsync(handle)

    def renamed(self: Path, target: Path) -> Path:
        seen.append("rename")
        return replace(self, target)

    monkeypatch.setattr(files.os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", renamed)
    atomic_write(tmp_path / "a", b"x")
    assert seen == ["file", "rename", "folder"]


def test_under_hold_the_bit_is_set_before_hold_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "slots" / "shop-production"
    markers.create_held(folder)
    assert markers.read(folder) == Live(None)
    unlink = Path.unlink

    def crash_at_hold(self: Path, missing_ok: bool = False) -> None:
        if self.name == "hold":
            raise KeyboardInterrupt
        unlink(self, missing_ok=missing_ok)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", crash_at_hold)
        with pytest.raises(KeyboardInterrupt):
            markers.flip(folder, Slot.GREEN)
    assert markers.read(folder) == Live(None)
    assert (folder / "green").exists()
    markers.flip(folder, Slot.GREEN)
    assert markers.read(folder) == Live(Slot.GREEN)


def test_a_known_folder_is_not_held_again(tmp_path: Path) -> None:
    folder = tmp_path / "shop-production"
    markers.create_held(folder)
    markers.flip(folder, Slot.BLUE)
    markers.create_held(folder)
    assert markers.read(folder) == Live(Slot.BLUE)
    markers.remove(folder)
    markers.remove(folder)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.anyio
async def test_a_program_gets_arguments_as_they_are_and_nothing_of_our_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEB_SECRET", "canary")
    shown = await shell.run(["/usr/bin/env"], home=tmp_path, seconds=5)
    assert b"canary" not in shown.out
    assert f"HOME={tmp_path}".encode() in shown.out.splitlines()
    said = await shell.run(["/bin/echo", "$(id); `id` > x"], home=tmp_path, seconds=5)
    assert (said.code, said.out) == (0, b"$(id); `id` > x\n")
    assert (await shell.run(["/bin/cat"], home=tmp_path, seconds=5, stdin=b"in")).out == b"in"
    assert (await shell.run(["/bin/false"], home=tmp_path, seconds=5)).code == 1


@pytest.mark.anyio
async def test_a_program_that_hangs_or_is_missing_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"did not end within 0\.1 seconds"):
        await shell.run(["/bin/sleep", "60"], home=tmp_path, seconds=0.1)
    with pytest.raises(Unavailable, match="cannot be started"):
        await shell.run(["/no/such"], home=tmp_path, seconds=1)
    with pytest.raises(Unavailable, match="cannot be started"):
        shell.start_detached(["/no/such"], home=tmp_path, output=tmp_path / "log")


@pytest.mark.anyio
async def test_a_detached_program_leads_its_own_session_and_leaves_no_zombie(tmp_path: Path) -> None:
    pid = shell.start_detached(["/bin/sleep", "60"], home=tmp_path, output=tmp_path / "log")
    assert os.getsid(pid) == pid
    assert process.alive(pid)
    await process.end(pid)
    async with asyncio.timeout(5):
        while Path(f"/proc/{pid}").exists():
            await asyncio.sleep(0.01)


@pytest.mark.anyio
async def test_a_program_that_ignores_the_request_to_end_is_made_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "STOP_SECONDS", 0.2)
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    log = tmp_path / "log"
    pid = shell.start_detached(["/usr/bin/python3", "-c", deaf], home=tmp_path, output=log)
    while not log.read_text():
        await asyncio.sleep(0.01)
    await process.end(pid)
    assert not process.alive(pid)
