"""Marker files that are no files: read as Caddy reads them, and put right by the next switch."""

from pathlib import Path

import pytest

from codeb.drivers.proxy import markers
from codeb.model.names import Slot
from codeb.model.specs import Live


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "slots" / "shop-production"
    markers.create_held(made)
    markers.flip(made, Slot.BLUE)
    return made


@pytest.mark.parametrize("bit", ["green", "fallback", "hold"])
def test_a_folder_or_a_broken_link_is_not_a_marker(folder: Path, bit: str) -> None:
    """P10: as Caddy sees it; it makes nobody live and lets nobody stand in."""
    (folder / bit).mkdir()
    assert markers.read(folder) == Live(Slot.BLUE)
    (folder / bit).rmdir()
    (folder / bit).symlink_to(folder / "nothing")
    assert markers.read(folder) == Live(Slot.BLUE)


@pytest.mark.parametrize("harm", ["folder", "broken link", "link"])
def test_a_switch_puts_it_right(folder: Path, tmp_path: Path, harm: str) -> None:
    """P10: and writes nothing where a link leads to."""
    target = tmp_path / "elsewhere"
    for bit in ("green", "fallback", "hold"):
        path = folder / bit
        if harm == "folder":
            path.mkdir()
        else:
            path.symlink_to(target)
    if harm == "link":
        target.write_bytes(b"kept")
        assert markers.read(folder) == Live(None), "Caddy follows it too"
    markers.flip(folder, Slot.GREEN)
    markers.allow_fallback(folder, True)
    assert markers.read(folder) == Live(Slot.GREEN, True)
    assert all((folder / bit).is_file() and not (folder / bit).is_symlink() for bit in ("green", "fallback"))
    markers.flip(folder, Slot.BLUE)
    markers.allow_fallback(folder, False)
    assert markers.read(folder) == Live(Slot.BLUE)
    markers.flip(folder, None)
    assert markers.read(folder) == Live(None)
    assert target.exists() == (harm == "link") and (harm != "link" or target.read_bytes() == b"kept")


def test_a_file_where_the_folder_of_a_site_is_to_be(tmp_path: Path) -> None:
    folder = tmp_path / "slots" / "shop-production"
    folder.parent.mkdir()
    folder.write_bytes(b"\0\0")
    assert markers.read(folder) == Live(None)
    markers.create_held(folder)
    assert markers.read(folder) == Live(None) and folder.is_dir()
    assert folder.with_name("shop-production.damaged").read_bytes() == b"\0\0"
