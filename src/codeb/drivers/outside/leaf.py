"""What a certificate says, as the world is shown it."""

import contextlib
from datetime import UTC, datetime

from cryptography import x509
from cryptography.x509.oid import ExtensionOID, NameOID

from codeb.contracts.outside import Certificate


def read(shown: bytes, name: str) -> Certificate:
    """Issuer, end, and whether it is for this name now; whether it is to be trusted is not in it. Raises `ValueError`."""
    leaf = x509.load_der_x509_certificate(shown)
    expires = leaf.not_valid_after_utc
    return Certificate(_issuer(leaf), expires, _covers(leaf, name) and expires > datetime.now(UTC), False)


def _issuer(leaf: x509.Certificate) -> str:
    for oid in (NameOID.ORGANIZATION_NAME, NameOID.COMMON_NAME):
        if found := leaf.issuer.get_attributes_for_oid(oid):
            return str(found[0].value)[:200]
    return leaf.issuer.rfc4514_string()[:200]


def _covers(leaf: x509.Certificate, name: str) -> bool:
    names: list[str] = []
    with contextlib.suppress(x509.ExtensionNotFound):
        found = leaf.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME).value
        assert isinstance(found, x509.SubjectAlternativeName)
        names = [each.lower() for each in found.get_values_for_type(x509.DNSName)]
    wild = "*." + name.partition(".")[2]
    return name in names or wild in names
