"""Signatures of Kalshi requests: who asks, when, and for what.

What is signed is the text ``timestamp_ms + METHOD + path``; the path includes ``/trade-api/v2`` and no
query, the host is not signed. Keys are Ed25519 or RSA (PSS, SHA-256, MGF1 with SHA-256, salt of 32 bytes).
A websocket's handshake is signed as ``GET /trade-api/ws/v2``.

``cryptography`` is imported when a key is loaded, not with this module: a bot on the embedded exchange
starts without it. No private key, signature or PEM text is ever part of a message or a repr.
"""

from __future__ import annotations

import base64
import binascii
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from jurymast.domain.errors import ConfigError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.padding import PSS
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
    from cryptography.hazmat.primitives.hashes import SHA256

KEY_HEADER: Final = "KALSHI-ACCESS-KEY"
TIMESTAMP_HEADER: Final = "KALSHI-ACCESS-TIMESTAMP"
SIGNATURE_HEADER: Final = "KALSHI-ACCESS-SIGNATURE"
SALT_BYTES: Final = 32
RSA_BITS: Final = 2048
PEM_BYTES_MAX: Final = 64 * 1024


class KeyKind(StrEnum):
    """Kinds of keys Kalshi accepts. Ed25519 is recommended and signs six times as fast."""

    ED25519 = "ed25519"
    RSA = "rsa"


class Signer:
    """Signs requests with one private key. ``pem`` is the key's PEM text, unencrypted.

    Raises ConfigError when it is no Ed25519 or RSA private key, without repeating any of it.
    """

    def __init__(self, key_id: str, pem: str | bytes) -> None:
        if not key_id or not key_id.isprintable() or not key_id.isascii():
            raise ConfigError("the Kalshi key id is empty or not plain text; copy it from the account's page")
        self.key_id: Final = key_id
        self._key = _private_key(pem)

    @classmethod
    def from_file(cls, key_id: str, path: Path) -> Signer:
        """Load the key from a PEM file. Raises ConfigError when it can't be read or is no key."""
        return cls(key_id, _read_pem(path))

    def __repr__(self) -> str:
        return f"Signer({_hint(self.key_id)}, {self.kind})"

    @property
    def kind(self) -> KeyKind:
        return KeyKind.RSA if _is_rsa(self._key) else KeyKind.ED25519

    def sign(self, timestamp_ms: int, method: str, path: str) -> str:
        """Signature of one request in base64. A query in ``path`` is left out."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        message = signed_text(str(timestamp_ms), method, path)
        if isinstance(self._key, Ed25519PrivateKey):
            signature = self._key.sign(message)
        else:
            signature = self._key.sign(message, *_pss())
        return base64.b64encode(signature).decode("ascii")

    def headers(self, timestamp_ms: int, method: str, path: str) -> dict[str, str]:
        """The three headers of a signed request. They belong into no log."""
        return {
            KEY_HEADER: self.key_id,
            TIMESTAMP_HEADER: str(timestamp_ms),
            SIGNATURE_HEADER: self.sign(timestamp_ms, method, path),
        }

    def public_pem(self) -> str:
        """The public half, as the exchange keeps it."""
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        public = self._key.public_key()
        return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")


class Verifier:
    """Checks signatures with one public key: the exchange's half of :class:`Signer`.

    Takes the PEM text of a public key, or of a private one, whose public half it keeps. Raises
    ConfigError for anything else.
    """

    def __init__(self, pem: str | bytes) -> None:
        self._key = _public_key(pem)

    def verifies(self, signature: str, timestamp_ms: str, method: str, path: str) -> bool:
        """Whether ``signature`` (base64) is this key's for the request. Never raises for bad input."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        message = signed_text(timestamp_ms, method, path)
        try:
            raw = base64.b64decode(signature, validate=True)
            if isinstance(self._key, Ed25519PublicKey):
                self._key.verify(raw, message)
            else:
                self._key.verify(raw, message, *_pss())
        except (InvalidSignature, binascii.Error, ValueError):
            return False
        return True


def signed_text(timestamp_ms: str, method: str, path: str) -> bytes:
    """What is signed: time, method in capitals and path without query, with nothing between them."""
    return f"{timestamp_ms}{method.upper()}{path.partition('?')[0]}".encode()


def generate_pem(kind: KeyKind = KeyKind.ED25519) -> str:
    """A new private key as PEM text: for an embedded exchange and for tests."""
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key: Ed25519PrivateKey | RSAPrivateKey
    if kind is KeyKind.ED25519:
        key = Ed25519PrivateKey.generate()
    else:
        key = rsa.generate_private_key(public_exponent=65_537, key_size=RSA_BITS)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii")


def _pss() -> tuple[PSS, SHA256]:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    return padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=SALT_BYTES), hashes.SHA256()


def _private_key(pem: str | bytes) -> Ed25519PrivateKey | RSAPrivateKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(_bytes(pem), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # The library's own message could quote what it was given.
        raise ConfigError(
            "the Kalshi private key is no readable PEM text (PKCS8, unencrypted); download it again"
        ) from None
    if not isinstance(key, Ed25519PrivateKey | RSAPrivateKey):
        raise ConfigError("the Kalshi private key is neither Ed25519 nor RSA; make a key of these kinds")
    return key


def _public_key(pem: str | bytes) -> Ed25519PublicKey | RSAPublicKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    if b"PRIVATE KEY" in _bytes(pem):
        return _private_key(pem).public_key()
    try:
        key = load_pem_public_key(_bytes(pem))
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigError("the public key is no readable PEM text") from None
    if not isinstance(key, Ed25519PublicKey | RSAPublicKey):
        raise ConfigError("the public key is neither Ed25519 nor RSA")
    return key


def _is_rsa(key: Ed25519PrivateKey | RSAPrivateKey) -> bool:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    return isinstance(key, RSAPrivateKey)


def _bytes(pem: str | bytes) -> bytes:
    return pem.encode() if isinstance(pem, str) else pem


def _read_pem(path: Path) -> bytes:
    try:
        with path.expanduser().open("rb") as file:
            pem = file.read(PEM_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(f"the Kalshi private key {path} can't be read: {error.strerror}") from None
    if len(pem) > PEM_BYTES_MAX:
        raise ConfigError(f"the Kalshi private key {path} is larger than {PEM_BYTES_MAX} bytes: no key file")
    return pem


def _hint(key_id: str) -> str:
    """Enough of a key id to tell two apart."""
    return f"{key_id[:4]}..." if len(key_id) > 8 else "..."
