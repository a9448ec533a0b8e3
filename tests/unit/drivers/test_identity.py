"""The files by which an installation knows itself: believed only in their form, written with their rights, one server a home."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from codeb.drivers.files import owners_of
from codeb.drivers.identity import INSTANCE, keep_instance, new_instance, only_server, probe_key, recorded_instance
from codeb.drivers.proxy.caddyfile import PROBE_HEADER, PROBE_KEY
from codeb.errors import Conflict

WORD = "0123456789ab"
KEY = "5" * 32


def test_an_instance_is_kept_and_read_back(tmp_path: Path) -> None:
    assert recorded_instance(tmp_path) is None
    made = new_instance()
    assert INSTANCE.fullmatch(made) and new_instance() != made
    keep_instance(tmp_path, made)
    assert recorded_instance(tmp_path) == made
    before = (tmp_path / "instance").stat()
    keep_instance(tmp_path, made)
    assert (tmp_path / "instance").stat().st_ino == before.st_ino, "what says so already is not written again"
    assert [each.name for each in tmp_path.iterdir()] == ["instance"]


@pytest.mark.parametrize("text", [b"", b"0123456789", b"0123456789abc", b"0123456789AB", b"0123456789ab x", b"\xff" * 12])
def test_what_is_not_of_the_form_is_not_believed_and_set_aside(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "instance").write_bytes(text)
    assert recorded_instance(tmp_path) is None
    keep_instance(tmp_path, WORD)
    assert recorded_instance(tmp_path) == WORD
    assert (tmp_path / "instance.damaged").read_bytes() == text


def test_a_link_is_not_believed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text(WORD)
    (tmp_path / "instance").symlink_to(tmp_path / "elsewhere")
    assert recorded_instance(tmp_path) is None


def test_the_probe_key_is_made_once_for_our_eyes_only(tmp_path: Path) -> None:
    made = probe_key(tmp_path)
    assert PROBE_KEY.fullmatch(made) and probe_key(tmp_path) == made
    assert (tmp_path / "probe.key").stat().st_mode & 0o777 == 0o600
    other = tmp_path / "other"
    assert probe_key(other) != made


def test_a_damaged_probe_key_is_read_back_from_a_site_that_asks_for_it(tmp_path: Path) -> None:
    sites = tmp_path / "sites"
    sites.mkdir()
    (sites / "a.caddy").symlink_to(tmp_path / "nowhere")
    (sites / "shop-production.caddy").write_text(f"@probe header {PROBE_HEADER} {KEY}\n")
    (tmp_path / "probe.key").write_text("half")
    assert probe_key(tmp_path) == KEY
    assert (tmp_path / "probe.key").read_text().strip() == KEY


def test_a_site_that_is_a_link_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "sites").mkdir()
    (tmp_path / "planted").write_text(f"@probe header {PROBE_HEADER} {KEY}\n")
    (tmp_path / "sites/a.caddy").symlink_to(tmp_path / "planted")
    assert probe_key(tmp_path) != KEY


def test_a_home_has_one_server(tmp_path: Path) -> None:
    with only_server(tmp_path):
        assert (tmp_path / "server.pid").read_text() == f"{os.getpid()}\n"
        with pytest.raises(Conflict) as told, only_server(tmp_path):
            pass
        assert told.value.code == "home_in_use" and str(os.getpid()) in told.value.message
    assert (tmp_path / "server.pid").read_text() == ""
    with only_server(tmp_path):
        pass


def test_a_program_that_a_server_starts_does_not_hold_its_home(tmp_path: Path) -> None:
    with only_server(tmp_path):
        child = subprocess.Popen(
            [sys.executable, "-c", "print(flush=True); input()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, close_fds=False
        )
        assert child.stdout is not None
        child.stdout.readline()
    try:
        with only_server(tmp_path):
            pass
    finally:
        child.communicate(b"\n")


def test_a_link_in_the_place_of_the_pid_is_set_aside_and_what_it_names_untouched(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    home = tmp_path / "home"
    home.mkdir()
    (home / "server.pid").symlink_to(victim)
    with caplog.at_level(logging.ERROR), only_server(home):
        assert not (home / "server.pid").is_symlink()
    assert victim.read_text() == "precious"
    assert (home / "server.pid.damaged").is_symlink()


def test_a_full_disk_does_not_keep_a_server_from_starting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with only_server(tmp_path):
        assert owners_of(tmp_path) >= {os.geteuid()}
