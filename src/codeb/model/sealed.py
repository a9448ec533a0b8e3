"""What is sealed, as text, and the keys it is sealed with: their forms and names."""

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass

from codeb.model.secret import Secret

KEY_BYTES = 32
FORM = re.compile(r"v1\.([0-9a-f]{16})\.([A-Za-z0-9_-]{38,})")
"""version, the id of the key, and nonce, text and tag in base64url"""
NAMED = len("v1.") + 16
"""how much of a sealed text says which key it is under"""
KEY = re.compile(r"[A-Za-z0-9+/_-]{43}=?")


def about_answer(key_id: str, key: str) -> str:
    """What an answer is sealed for: the API key that asked, and its idempotency key."""
    return f"answer/{key_id}/{key}"


def about_env(project: str, environment: str, number: int) -> str:
    """What a version of an environment's variables is sealed for."""
    return f"env/{project}/{environment}/{number}"


def about_storage(storage_id: str, generation: int) -> str:
    """What a password of a database or a Redis is sealed for."""
    return f"storage/{storage_id}/{generation}"


def about_instance(storage_id: str) -> str:
    """What the password of the administrator of a storage container is sealed for."""
    return f"instance/{storage_id}"


def under(sealed: str) -> str | None:
    """The id of the key that opens it; None for a text that is not sealed."""
    found = FORM.fullmatch(sealed)
    return found[1] if found else None


@dataclass(frozen=True)
class MasterKey:
    """256 bits, as base64 text; `id` is public and tells keys apart."""

    text: Secret
    id: str

    @classmethod
    def of(cls, text: str) -> "MasterKey":
        """Raises `ValueError`, without the text, for one that is no key."""
        if not KEY.fullmatch(text):
            raise ValueError("not 32 bytes in base64")
        return cls(Secret(text), hashlib.sha256(_bytes(text)).hexdigest()[:16])

    @classmethod
    def new(cls, random: bytes) -> "MasterKey":
        """Of 32 random bytes."""
        if len(random) != KEY_BYTES:
            raise ValueError(f"a master key has {KEY_BYTES} bytes")
        return cls.of(base64.urlsafe_b64encode(random).decode().rstrip("="))

    def bytes(self) -> bytes:
        return _bytes(self.text.reveal())


def _bytes(text: str) -> bytes:
    try:
        raw = base64.urlsafe_b64decode(text.rstrip("=").replace("+", "-").replace("/", "_") + "=")
    except binascii.Error as fault:
        raise ValueError("not 32 bytes in base64") from fault
    if len(raw) != KEY_BYTES:
        raise ValueError("not 32 bytes in base64")
    return raw
