"""Signature vectors of other clients, made with test keys that their authors published."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import parse_qsl, quote

import orjson
import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from streamhedge.errors import ConfigError
from streamhedge.wire.signing import Ed25519Signer, HmacSigner, signed_params, signed_query, signer_of
from tests.support.recordings import recording
from tests.support.shared import needs_shared

HMAC = recording("signatures/hmac.jsonl")
ASYMMETRIC = recording("signatures/asymmetric.jsonl")
WEBSOCKET = recording("signatures/ws_api_ed25519.jsonl")

pytestmark = needs_shared


def cases(read: Any) -> list[Any]:
    """Return one case per line, numbered, since two lines share a name."""
    return [
        pytest.param(orjson.loads(line), id=f"{n}-{orjson.loads(line)['id']}") for n, line in enumerate(read.lines())
    ]


@pytest.mark.parametrize("row", cases(HMAC))
def test_hmac(row: dict[str, Any]) -> None:
    signer = signer_of(row["secret"])

    assert isinstance(signer, HmacSigner)
    assert signer.sign(row["payload"].encode()) == row["signature"].lower()


def as_query(payload: str) -> list[tuple[str, str]] | None:
    """Return the parameters of a payload that is one query string, written as this program writes it; else None."""
    params = parse_qsl(payload, keep_blank_values=True)
    return params if "&".join(f"{name}={quote(value, safe='')}" for name, value in params) == payload else None


@pytest.mark.parametrize("row", [case for case in cases(HMAC) if as_query(case.values[0]["payload"]) is not None])
def test_hmac_of_a_query_built_here(row: dict[str, Any]) -> None:
    params = as_query(row["payload"])

    assert params is not None
    assert signed_query(params, HmacSigner(row["secret"])) == f"{row['payload']}&signature={row['signature'].lower()}"


def test_most_payloads_are_queries() -> None:
    """The others are a query and a body in one, or encoded another way: no request of this program looks like them."""
    payloads = [row["payload"] for row in HMAC.rows()]

    assert len(payloads) == 30
    assert sum(as_query(payload) is not None for payload in payloads) == 20


@pytest.mark.parametrize("row", cases(ASYMMETRIC))
def test_asymmetric(row: dict[str, Any]) -> None:
    if row["algo"] != "Ed25519" or row.get("password"):
        with pytest.raises(ConfigError, match=r"Ed25519|unencrypted"):
            signer_of(row["private_key_pem"])
        return
    signer = signer_of(row["private_key_pem"])

    assert signer.session_logon
    assert signer.sign(row["payload"].encode()) == row["signature_b64"]


@pytest.mark.parametrize("row", cases(WEBSOCKET))
def test_websocket_api(row: dict[str, Any]) -> None:
    params = {name: value for name, value in row["request"]["params"].items() if name != "signature"}
    signed = signed_params(params, signer_of(row["private_key_pem"]))

    assert signed == row["request"]["params"]
    assert signed["signature"] == row["signature_b64"]


@pytest.mark.parametrize("row", cases(WEBSOCKET))
def test_the_key_that_signed_verifies(row: dict[str, Any]) -> None:
    key: Any = load_pem_private_key(row["private_key_pem"].encode(), password=None)

    key.public_key().verify(base64.b64decode(Ed25519Signer(key).sign(row["payload"].encode())), row["payload"].encode())
