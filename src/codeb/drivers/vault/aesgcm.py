"""AES-256-GCM under master keys: a random 96-bit nonce, and associated data that ties what is sealed to its row."""

import asyncio
import base64
import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Protocol

from codeb.contracts.vault import closed
from codeb.errors import Conflict, PublicError
from codeb.model.sealed import FORM, KEY_BYTES, MasterKey
from codeb.model.secret import Secret
from codeb.model.specs import Finding

NONCE_BYTES = 12


class Kept(Protocol):
    """Where the keys are kept: a file, or memory."""

    path: Path

    def read(self) -> tuple[MasterKey, ...]: ...

    def write(self, keys: Sequence[MasterKey]) -> None: ...


class AesGcmVault:
    """See `contracts.vault.Vault` and `Keyring`. Nothing is read before `read`."""

    def __init__(self, kept: Kept) -> None:
        self._kept = kept
        self._keys: tuple[MasterKey, ...] = ()
        self._turn = asyncio.Lock()
        self._fault: PublicError | None = closed("The master key was not read yet.", "Try again in a moment.")

    # sealing

    def seal(self, secret: Secret, about: str) -> str:
        if self._fault is not None or not self._keys:
            raise self._none()
        key, nonce = self._keys[0], os.urandom(NONCE_BYTES)
        text = secret.reveal().encode("utf-8", "surrogatepass")
        body = nonce + _cipher(key).encrypt(nonce, text, _bound(key, about))
        return f"v1.{key.id}.{base64.urlsafe_b64encode(body).decode().rstrip('=')}"

    def open(self, sealed: str, about: str) -> Secret:
        found = FORM.fullmatch(sealed)
        if not found:
            raise _broken(about)
        key = next((each for each in self._keys if each.id == found[1]), None)
        if key is None:
            raise self._none() if not self._keys else self._another(found[1])
        try:
            body = base64.urlsafe_b64decode(found[2] + "=" * (-len(found[2]) % 4))
            nonce, rest = body[:NONCE_BYTES], body[NONCE_BYTES:]
            text = _cipher(key).decrypt(nonce, rest, _bound(key, about))
        except _refusals() as refused:
            raise _broken(about) from refused
        return Secret(text.decode("utf-8", "surrogatepass"))

    def _none(self) -> PublicError:
        return self._fault or closed("There is no master key.", f"Put the kept copy of it back at {self._kept.path}.")

    def _another(self, in_force: str) -> PublicError:
        have = ", ".join(each.id for each in self._keys)
        return closed(
            f"It is sealed with master key {in_force}, and {self._kept.path} has {have}.",
            f"Add the key {in_force} as a last line to {self._kept.path}, from where it is kept or from the home that has it.",
        )

    # the keys

    @property
    def turn(self) -> asyncio.Lock:
        return self._turn

    @property
    def where(self) -> str:
        return str(self._kept.path)

    @property
    def ids(self) -> Sequence[str]:
        return [each.id for each in self._keys]

    @property
    def fault(self) -> PublicError | None:
        return self._fault

    def read(self) -> bool:
        try:
            there = self._kept.read()
        except PublicError as fault:
            self._keys, self._fault = (), fault
            raise
        if there:
            self._keys = there
        elif self._keys:
            self._kept.write(self._keys)
        return bool(self._keys)

    def begin(self) -> None:
        # what the file has by now counts too: another process that shares it may have put a key there
        known = {each.id: each for each in (*self._kept.read(), *self._keys)}
        keys = (MasterKey.new(os.urandom(KEY_BYTES)), *known.values())
        self._kept.write(keys)
        self._keys = keys

    def keep(self, ids: Collection[str]) -> None:
        keys = tuple(each for index, each in enumerate(self._keys) if index == 0 or each.id in ids)
        if keys != self._keys:
            self._kept.write(keys)
            self._keys = keys

    def shut(self, fault: PublicError | None) -> None:
        self._fault = fault

    def fits(self, in_force: str | None) -> None:
        if self._fault is not None or not self._keys:
            raise self._none()
        if in_force is not None and in_force not in self.ids:
            raise self._another(in_force)

    async def check(self) -> Finding:
        """Never raises."""
        if self._fault is not None:
            return Finding("vault", "fail", self._fault.message, self._fault.hint)
        if len(self._keys) > 1:
            text = f"A change of the master key did not end: {len(self._keys)} keys are in use."
            return Finding("vault", "warn", text, "we keys rotate-master")
        return Finding("vault", "pass", f"Secrets are sealed with master key {self.ids[0] if self._keys else 'none'}.")


def _cipher(key: MasterKey) -> Any:
    # costs start-up time that only those pay who seal
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(key.bytes())


def _refusals() -> tuple[type[Exception], ...]:
    from cryptography.exceptions import InvalidTag

    return InvalidTag, ValueError


def _bound(key: MasterKey, about: str) -> bytes:
    return f"codeb/v1/{key.id}/{about}".encode("utf-8", "surrogatepass")


def _broken(about: str) -> Conflict:
    return Conflict(
        f"What is sealed for {about} does not open: it was altered, or belongs elsewhere. Nothing was changed.",
        code="seal_broken", hint="Restore it from a backup, or make the secret anew.",
    )  # fmt: skip
