"""The vault, on keys in memory and in a file: what is sealed opens for what it was sealed for, and for nothing else (S11)."""

import base64
import os
import subprocess
import sys
from pathlib import Path

import pytest

from codeb.drivers.vault.aesgcm import AesGcmVault, Kept
from codeb.drivers.vault.keyfile import KeyFile
from codeb.drivers.vault.memory import MemoryKeyFile
from codeb.errors import Conflict, Unavailable
from codeb.model.sealed import MasterKey, under
from codeb.model.secret import Secret

ABOUT = "shop/production/DATABASE_URL"
TEXTS = ["", "x", "codeb_main_owner_canary", "two\nlines = 'quoted' # \0 é \udc80 \U0001f600", "k" * 200_000]


@pytest.fixture(params=["file", "memory"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Kept:
    tmp_path.chmod(0o700)
    return KeyFile(tmp_path) if request.param == "file" else MemoryKeyFile()


def opened(kept: Kept) -> AesGcmVault:
    vault = AesGcmVault(kept)
    vault.read()
    vault.shut(None)
    return vault


@pytest.fixture
def vault(kept: Kept) -> AesGcmVault:
    AesGcmVault(kept).begin()
    return opened(kept)


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_what_is_sealed_opens_byte_for_byte_also_after_a_restart(vault: AesGcmVault, kept: Kept, text: str) -> None:
    sealed = vault.seal(Secret(text), ABOUT)
    assert sealed.isascii()
    assert "\n" not in sealed
    assert under(sealed) == vault.ids[0]
    assert opened(kept).open(sealed, ABOUT).reveal() == text


def test_two_seals_of_the_same_are_never_equal_and_show_nothing(vault: AesGcmVault) -> None:
    made = [vault.seal(Secret("canary-canary"), ABOUT) for _ in range(500)]
    bodies = [base64.urlsafe_b64decode(each.split(".")[2] + "==") for each in made]
    assert len({body[:12] for body in bodies}) == len(made), "a nonce is used once"
    assert not any(b"canary" in body for body in bodies)


@pytest.mark.parametrize("about", ["shop/staging/DATABASE_URL", "", ABOUT + " ", "answer/key_1/a"])
def test_it_opens_for_nothing_else(vault: AesGcmVault, about: str) -> None:
    sealed = vault.seal(Secret("canary"), ABOUT)
    with pytest.raises(Conflict) as refused:
        vault.open(sealed, about)
    assert (refused.value.code, "canary" in str(refused.value)) == ("seal_broken", False)


def test_every_altered_byte_is_noticed(vault: AesGcmVault) -> None:
    version, key_id, body = vault.seal(Secret("canary"), ABOUT).split(".")
    raw = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
    for index in range(len(raw)):
        spoilt = raw[:index] + bytes([raw[index] ^ 1]) + raw[index + 1 :]
        with pytest.raises(Conflict):
            vault.open(f"{version}.{key_id}.{base64.urlsafe_b64encode(spoilt).decode().rstrip('=')}", ABOUT)
    for broken in ("", "canary", f"{version}.{key_id}.", f"v2.{key_id}.{body}", f"{version}.{key_id}.{body}\n", body):
        with pytest.raises(Conflict):
            vault.open(broken, ABOUT)


def test_a_text_under_a_key_that_is_not_here_says_which(vault: AesGcmVault) -> None:
    other = opened_with_new()
    sealed = other.seal(Secret("canary"), ABOUT)
    with pytest.raises(Unavailable) as refused:
        vault.open(sealed, ABOUT)
    assert refused.value.code == "vault_closed"
    assert other.ids[0] in refused.value.message
    with pytest.raises(Unavailable):
        vault.fits(other.ids[0])
    vault.fits(vault.ids[0])
    vault.fits(None)


def opened_with_new() -> AesGcmVault:
    kept = MemoryKeyFile()
    AesGcmVault(kept).begin()
    return opened(kept)


def test_a_new_key_comes_first_and_the_old_one_opens_until_it_is_let_go(vault: AesGcmVault, kept: Kept) -> None:
    old, sealed = vault.ids[0], vault.seal(Secret("canary"), ABOUT)
    vault.begin()
    new = vault.ids[0]
    assert list(opened(kept).ids) == [new, old]
    assert under(vault.seal(Secret("x"), ABOUT)) == new
    vault.keep({old})
    assert opened(kept).open(sealed, ABOUT).reveal() == "canary"
    vault.keep(set())
    assert list(vault.ids) == list(opened(kept).ids) == [new]
    with pytest.raises(Unavailable):
        vault.open(sealed, ABOUT)


def test_a_shut_vault_seals_nothing_and_opens_what_it_can(vault: AesGcmVault) -> None:
    sealed = vault.seal(Secret("canary"), ABOUT)
    vault.shut(Unavailable("It is another key.", code="vault_closed"))
    for act in (lambda: vault.seal(Secret("x"), ABOUT), lambda: vault.fits(None)):
        with pytest.raises(Unavailable, match="another key"):
            act()
    assert vault.open(sealed, ABOUT).reveal() == "canary"


def test_before_anything_is_read_nothing_works(kept: Kept) -> None:
    vault = AesGcmVault(kept)
    assert vault.read() is False
    with pytest.raises(Unavailable):
        vault.seal(Secret("x"), ABOUT)


# the file


@pytest.fixture
def file(tmp_path: Path) -> KeyFile:
    tmp_path.chmod(0o700)
    made = KeyFile(tmp_path)
    AesGcmVault(made).begin()
    return made


def refusal(file: KeyFile) -> Unavailable:
    before = os.path.lexists(file.path) and file.path.is_file() and file.path.read_bytes()
    with pytest.raises(Unavailable) as refused:
        AesGcmVault(file).read()
    with pytest.raises(Unavailable):
        AesGcmVault(file).begin()
    assert before == (file.path.is_file() and file.path.read_bytes()), "what is there is never replaced"
    assert refused.value.code == "vault_closed"
    return refused.value


def test_it_is_for_its_owner_alone(file: KeyFile) -> None:
    assert file.path.stat().st_mode & 0o777 == 0o600
    file.path.chmod(0o400)
    assert len(file.read()) == 1


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620, 0o602, 0o610, 0o666])
def test_one_that_others_may_use_is_refused_with_the_command_that_mends_it(file: KeyFile, mode: int) -> None:
    file.path.chmod(mode)
    said = refusal(file)
    assert f"{mode:04o}" in said.message
    assert said.hint == f"chmod 0600 {file.path}"
    subprocess.run(said.hint.split(), check=True)
    assert len(file.read()) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a file to another user takes root")
def test_one_of_another_user_is_refused(file: KeyFile) -> None:
    os.chown(file.path, 65534, 65534)
    assert refusal(file).hint.startswith("sudo chown ")


def test_a_link_a_folder_and_a_pipe_are_refused(file: KeyFile) -> None:
    aside = file.path.rename(file.path.with_name("aside"))
    file.path.symlink_to(aside)
    refusal(file)
    file.path.unlink()
    file.path.mkdir()
    refusal(file)
    file.path.rmdir()
    os.mkfifo(file.path, 0o600)
    refusal(file)


@pytest.mark.parametrize(
    "text", [b"", b"\n", b"short\n", b"\xff" * 43, b"A" * 43 + b"\nnot a key\n", b"A" * 44, b" " + b"A" * 43]
)
def test_what_holds_no_keys_is_refused_and_not_shown(file: KeyFile, text: bytes) -> None:
    file.path.write_bytes(text)
    said = refusal(file)
    assert "A" * 43 not in f"{said.message} {said.hint}"


def test_a_key_made_by_hand_is_one(file: KeyFile) -> None:
    raw = os.urandom(32)
    file.path.write_bytes(base64.b64encode(raw) + b"\n")
    assert [each.bytes() for each in file.read()] == [raw]


def test_a_file_that_goes_away_under_a_running_vault_is_written_back(file: KeyFile) -> None:
    vault = AesGcmVault(file)
    vault.read()
    text = file.path.read_bytes()
    file.path.unlink()
    assert vault.read() is True
    assert file.path.read_bytes() == text
    file.path.unlink()
    vault.begin()
    assert text in file.path.read_bytes()


def test_a_file_that_cannot_be_written_leaves_the_keys_as_they_were(file: KeyFile, monkeypatch: pytest.MonkeyPatch) -> None:
    vault = AesGcmVault(file)
    vault.read()
    before = list(vault.ids)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("codeb.drivers.vault.keyfile.atomic_write", full)
    with pytest.raises(Unavailable):
        vault.begin()
    assert list(vault.ids) == before


def test_a_key_is_printed_nowhere() -> None:
    key = MasterKey.new(os.urandom(32))
    assert key.text.reveal() not in f"{key!r} {key} {vars(key)}"
    with pytest.raises(ValueError, match="32 bytes") as refused:
        MasterKey.of(key.text.reveal() + "AA")
    assert key.text.reveal() not in str(refused.value)


def test_the_cipher_is_loaded_by_the_first_seal_only() -> None:
    """`we --help` and a start pay nothing for it."""
    program = (
        "import sys, codeb.wiring, codeb.entry.cli.main; from pathlib import Path; "
        "print(any(name.split('.')[0] == 'cryptography' for name in sys.modules))"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "False"
