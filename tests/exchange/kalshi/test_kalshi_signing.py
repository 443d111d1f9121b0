"""Requests are signed as Kalshi wants them, and secrets stay secret."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from jurymast.domain.errors import ConfigError
from jurymast.exchange.kalshi.signing import KeyKind, Signer, Verifier, generate_pem, signed_text

PATH = "/trade-api/v2/portfolio/orders"
AT_MS = 1_790_000_000_000
KEYS = {kind: generate_pem(kind) for kind in KeyKind}
KEY_ID = "11111111-2222-3333-4444-555555555555"


@pytest.fixture(params=list(KeyKind))
def pem(request: pytest.FixtureRequest) -> str:
    return KEYS[request.param]


def test_a_signature_is_verified_by_the_public_half(pem: str) -> None:
    """What the signer signs, the verifier accepts, from the public key as well as from the private one."""
    signer = Signer(KEY_ID, pem)
    headers = signer.headers(AT_MS, "GET", PATH)
    assert headers["KALSHI-ACCESS-KEY"] == KEY_ID
    assert headers["KALSHI-ACCESS-TIMESTAMP"] == str(AT_MS)
    for known in (signer.public_pem(), pem):
        assert Verifier(known).verifies(headers["KALSHI-ACCESS-SIGNATURE"], str(AT_MS), "GET", PATH)


@pytest.mark.parametrize(
    ("timestamp", "method", "path"),
    [
        (str(AT_MS + 1), "GET", PATH),
        (str(AT_MS), "POST", PATH),
        (str(AT_MS), "GET", PATH + "/x"),
        (str(AT_MS), "GET", PATH.removeprefix("/trade-api/v2")),
    ],
)
def test_another_request_is_not_covered(pem: str, timestamp: str, method: str, path: str) -> None:
    """A signature holds for one time, one method and one full path."""
    signature = Signer(KEY_ID, pem).sign(AT_MS, "GET", PATH)
    assert not Verifier(pem).verifies(signature, timestamp, method, path)


def test_the_query_is_not_signed(pem: str) -> None:
    """Filters and cursors are no part of what is signed."""
    signature = Signer(KEY_ID, pem).sign(AT_MS, "get", f"{PATH}?cursor=abc&limit=5")
    assert Verifier(pem).verifies(signature, str(AT_MS), "GET", PATH)
    assert signed_text("17", "get", "/a?b=c") == b"17GET/a"


def test_rsa_signatures_carry_a_salt_of_32_bytes() -> None:
    """RSA signs with PSS, SHA-256 and a 32-byte salt, never twice the same, as Kalshi checks it."""
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import padding, rsa

    signer = Signer(KEY_ID, KEYS[KeyKind.RSA])
    first, second = signer.sign(AT_MS, "GET", PATH), signer.sign(AT_MS, "GET", PATH)
    assert first != second
    public = serialization.load_pem_public_key(signer.public_pem().encode())
    assert isinstance(public, rsa.RSAPublicKey)
    public.verify(
        base64.b64decode(first),
        f"{AT_MS}GET{PATH}".encode(),
        padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=32),
        hashes.SHA256(),
    )


@pytest.mark.parametrize("signature", ["", "not base64!", "AAAA", base64.b64encode(b"x" * 64).decode()])
def test_rubbish_is_not_a_signature(pem: str, signature: str) -> None:
    """A verifier answers no to anything that is no signature, without raising."""
    assert not Verifier(pem).verifies(signature, str(AT_MS), "GET", PATH)


def test_a_key_comes_from_a_file(tmp_path: Path, pem: str) -> None:
    """A key file holds the PEM text as it was downloaded."""
    file = tmp_path / "key.pem"
    file.write_text(pem)
    signature = Signer.from_file(KEY_ID, file).sign(AT_MS, "GET", PATH)
    assert Verifier(pem).verifies(signature, str(AT_MS), "GET", PATH)


def test_a_missing_key_file_is_named(tmp_path: Path) -> None:
    """A key file that is not there is named, so that the path can be corrected."""
    with pytest.raises(ConfigError, match=r"nowhere\.pem can't be read"):
        Signer.from_file(KEY_ID, tmp_path / "nowhere.pem")


@pytest.mark.parametrize(
    "pem",
    [
        "SECRET-LOOKING rubbish",
        "-----BEGIN PRIVATE KEY-----\nU0VDUkVU\n-----END PRIVATE KEY-----\n",
        b"\x00SECRET",
    ],
)
def test_a_damaged_key_is_refused_without_being_shown(pem: str | bytes) -> None:
    """A message about a bad key holds nothing of the key, not even through its cause."""
    with pytest.raises(ConfigError, match="private key") as refused:
        Signer(KEY_ID, pem)
    assert "SECRET" not in str(refused.value)
    assert "U0VD" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_other_kinds_of_keys_are_refused() -> None:
    """A key of a kind Kalshi doesn't take is refused before anything is sent."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(ConfigError, match="neither Ed25519 nor RSA"):
        Signer(KEY_ID, pem)


def test_a_signer_shows_no_secret(pem: str) -> None:
    """The repr of a signer tells which key it is and nothing that could be used."""
    shown = repr(Signer(KEY_ID, pem))
    assert KEY_ID not in shown
    assert pem.splitlines()[1] not in shown
    assert shown.startswith("Signer(1111...,")


@pytest.mark.parametrize("key_id", ["", "a\nb"])
def test_a_key_id_is_plain_text(key_id: str, pem: str) -> None:
    """An empty key id, or one that would break a header, is refused."""
    with pytest.raises(ConfigError, match="key id"):
        Signer(key_id, pem)
