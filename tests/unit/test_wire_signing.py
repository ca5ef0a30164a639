"""Signatures: published vectors, our own, and a second signer built from the standard library."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from streamhedge.errors import ConfigError
from streamhedge.wire.signing import Ed25519Signer, HmacSigner, encoded, signed_params, signed_query, signer_of
from tests.support.shared import SHARED, needs_shared

SECRET = "a-secret-that-opens-nothing"
SEED = bytes(range(100, 132))


def vectors() -> dict[str, Any]:
    """Return the published vectors."""
    assert SHARED is not None
    return json.loads((SHARED / "protocol" / "examples" / "sign_vectors.json").read_text(encoding="utf-8"))


REST = ("rest_hmac_official", "rest_hmac_non_ascii_symbol", "rest_hmac_client_id_with_colon_and_slash")


@needs_shared
@pytest.mark.parametrize("name", REST)
def test_published_rest_vector(name: str) -> None:
    vector = vectors()[name]
    params = parse_qsl(vector["payload"], keep_blank_values=True)
    query = signed_query(params, HmacSigner(vector["secret"]))

    assert query == f"{vector['payload']}&signature={vector['signature']}"


@needs_shared
def test_published_ed25519_vector() -> None:
    vector = vectors()["rest_ed25519"]
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(vector["private_seed_hex"]))
    query = signed_query(parse_qsl(vector["payload"]), Ed25519Signer(key))

    assert Ed25519Signer(key).sign(vector["payload"].encode()) == vector["signature_base64"]
    assert query == f"{vector['payload']}&signature={vector['signature_query_value']}"
    Ed25519PublicKey.from_public_bytes(bytes.fromhex(vector["public_key_hex"])).verify(
        base64.b64decode(vector["signature_base64"]), vector["payload"].encode()
    )


@needs_shared
@pytest.mark.parametrize("name", ["wsapi_ed25519_session_logon", "wsapi_hmac"])
def test_published_websocket_vector(name: str) -> None:
    vector = vectors()[name]
    signer: HmacSigner | Ed25519Signer = (
        HmacSigner(vector["secret"])
        if "secret" in vector
        else Ed25519Signer(Ed25519PrivateKey.from_private_bytes(bytes.fromhex(vector["private_seed_hex"])))
    )
    params = vector["params_without_signature"]

    assert signed_params(params, signer) == {**params, "signature": vector["signature"]}
    assert "signature" not in params


@needs_shared
def test_every_published_vector_is_read() -> None:
    read = {*REST, "rest_ed25519", "wsapi_ed25519_session_logon", "wsapi_hmac", "note"}

    assert vectors().keys() == read


# ---------------------------------------------------------------- ours


# Computed once with openssl: `dgst -sha256 -hmac` and `pkeyutl -sign -rawin`, over the bytes as written.
ORDER = [
    ("symbol", "BTCUSDT"),
    ("side", "SELL"),
    ("type", "LIMIT"),
    ("quantity", "0.25"),
    ("price", "76409.9"),
    ("timeInForce", "IOC"),
    ("timestamp", "1795244400000"),
]
ORDER_QUERY = "symbol=BTCUSDT&side=SELL&type=LIMIT&quantity=0.25&price=76409.9&timeInForce=IOC&timestamp=1795244400000"
CHINESE = [("symbol", "测试USDT"), ("recvWindow", "3000"), ("timestamp", "1795244400000")]


def test_hmac_of_an_order() -> None:
    signature = "7bdfe7cd473575d2e7d863fa66d13caa6367143cb8762fcbb0a5e93b07e52336"

    assert signed_query(ORDER, HmacSigner(SECRET)) == f"{ORDER_QUERY}&signature={signature}"


@pytest.mark.fault("M5")
def test_hmac_of_a_symbol_outside_ascii_covers_the_encoded_bytes() -> None:
    signature = "54830874e3152fee0ff79d1c561d548b1a78000c9b5740595e4351b4e08e5774"

    assert signed_query(CHINESE, HmacSigner(SECRET)) == (
        f"symbol=%E6%B5%8B%E8%AF%95USDT&recvWindow=3000&timestamp=1795244400000&signature={signature}"
    )


def test_the_websocket_api_signs_sorted_and_unencoded() -> None:
    params: dict[str, str | int] = {"timestamp": 1795244400000, "symbol": "测试USDT", "recvWindow": 3000, "apiKey": "k"}
    signed = signed_params(params, HmacSigner(SECRET))

    assert signed["signature"] == "b61f678b48f12474e6086523c4b6e4f4157220bfe5aa423432fb29719945471e"
    assert list(signed)[-1] == "signature"
    assert isinstance(signed["timestamp"], int)


def test_hmac_of_nothing() -> None:
    signature = "d01cfd8d7a70714c671d7a1e96332ce1dab815cbba659048a1c95f9e540b34be"

    assert HmacSigner(SECRET).sign(b"") == signature


def test_ed25519_of_an_order() -> None:
    signer = Ed25519Signer(Ed25519PrivateKey.from_private_bytes(SEED))
    signature = "vzqcAyyVd2qh9LRWOT1hRePJrS6auoa3VcP3tHM3MVBGg2uqFxFQ483mhUY1nm+I10uPelel/8WQro/GgB1tDw=="
    escaped = signature.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")

    assert signer.sign(ORDER_QUERY.encode()) == signature
    assert signed_query(ORDER, signer) == f"{ORDER_QUERY}&signature={escaped}"
    assert len(signature) == 88


def test_ed25519_on_the_websocket_api_is_not_escaped() -> None:
    signer = Ed25519Signer(Ed25519PrivateKey.from_private_bytes(SEED))
    params: dict[str, str | int] = {"timestamp": 1795244400000, "symbol": "测试USDT", "recvWindow": 3000, "apiKey": "k"}

    assert (
        signed_params(params, signer)["signature"]
        == "0ULFY5fJlc2YcJ3e8q83jnDGMf5MpZhBupocoMgCnyWMvRhJQ9mxeGiPMOrSYXwLsxLjGywNegi/XdjsdoYbDg=="
    )


# ---------------------------------------------------------------- which signer


def pem(key: Any, *, password: bytes | None = None) -> str:
    """Return a private key as PKCS#8 text."""
    protection = BestAvailableEncryption(password) if password else NoEncryption()
    return str(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection).decode())


def test_a_plain_secret_means_hmac() -> None:
    signer = signer_of(SECRET)

    assert isinstance(signer, HmacSigner)
    assert not signer.session_logon


def test_a_pem_means_ed25519() -> None:
    key = Ed25519PrivateKey.from_private_bytes(SEED)
    signer = signer_of(pem(key))

    assert signer.session_logon
    assert signer.sign(b"x") == Ed25519Signer(key).sign(b"x")


@pytest.mark.parametrize(
    ("secret", "words"),
    [
        ("-----BEGIN PRIVATE KEY-----\nnonsense\n-----END PRIVATE KEY-----\n", "unreadable"),
        (pem(Ed25519PrivateKey.from_private_bytes(SEED), password=b"pw"), "unreadable"),
        (pem(generate_private_key(public_exponent=65537, key_size=2048)), "another kind"),
    ],
)
def test_a_key_that_cannot_sign_is_refused_without_being_shown(secret: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as refused:
        signer_of(secret)

    assert not any(line in str(refused.value) for line in secret.splitlines() if len(line) > 20)


# ---------------------------------------------------------------- against a second signer

NAMES = st.from_regex(r"[a-zA-Z]{1,12}", fullmatch=True)
VALUES = st.text(st.characters(blacklist_categories=("Cs",)), max_size=24)


def reference_query(params: list[tuple[str, str]], secret: str) -> str:
    """Return what a client made of the standard library alone sends."""
    payload = urlencode(params, safe="").replace("+", "%20")
    return f"{payload}&signature={hmac.new(secret.encode(), payload.encode(), hashlib.sha256).hexdigest()}"


@given(st.lists(st.tuples(NAMES, VALUES), min_size=1, max_size=8), st.text(min_size=1, max_size=64))
@pytest.mark.fault("M5")
def test_the_reference_signer_agrees(params: list[tuple[str, str]], secret: str) -> None:
    secret = secret.encode("utf-8", "ignore").decode() or "s"

    assert signed_query(params, HmacSigner(secret)) == reference_query(params, secret)


@given(st.lists(st.tuples(NAMES, VALUES), min_size=1, max_size=8))
@pytest.mark.fault("M5")
def test_encoding_loses_nothing(params: list[tuple[str, str]]) -> None:
    text = encoded(params)

    assert text.isascii()
    assert parse_qsl(text, keep_blank_values=True) == params


@given(st.dictionaries(NAMES, VALUES | st.integers(0, 2**63), min_size=1, max_size=8))
def test_the_websocket_signature_covers_every_parameter(params: dict[str, str | int]) -> None:
    payload = "&".join(f"{name}={value}" for name, value in sorted(params.items()))
    expected = hmac.new(SECRET.encode(), payload.encode(), hashlib.sha256).hexdigest()

    assert signed_params(params, HmacSigner(SECRET)) == {**params, "signature": expected}


def test_a_signer_signs_again_and_again() -> None:
    signer = HmacSigner(SECRET)

    assert signer.sign(b"a") != signer.sign(b"b")
    assert signer.sign(b"a") == signer.sign(b"a")
