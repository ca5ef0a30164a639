"""Signing of REST and WebSocket API requests. Knows keys only as callables that sign bytes.

REST: percent-encode, sign exactly those bytes, append ``signature`` last. WebSocket API: sort by name, join as k=v&k=v
without encoding, sign. HMAC-SHA256 gives hex, Ed25519 base64 (BINANCE_USDM §4.2, §5.1).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from typing import Protocol
from urllib.parse import quote

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from streamhedge.errors import ConfigError

Params = Sequence[tuple[str, str]]


class Signer(Protocol):
    """Signs a payload; never shows its key."""

    session_logon: bool
    """True where the key type may log a WebSocket API session on (Ed25519 only)."""

    def sign(self, payload: bytes) -> str:
        """Return the signature as the venue writes it, not percent-encoded."""


class HmacSigner:
    """HMAC-SHA256; the key schedule is done once and copied."""

    session_logon = False

    def __init__(self, secret: str) -> None:
        self._keyed = hmac.new(secret.encode(), digestmod=hashlib.sha256)

    def sign(self, payload: bytes) -> str:
        """Return 64 hex digits."""
        keyed = self._keyed.copy()
        keyed.update(payload)
        return keyed.hexdigest()


class Ed25519Signer:
    """Ed25519, the key type the venue recommends; one key serves REST and the WebSocket API."""

    session_logon = True

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    def sign(self, payload: bytes) -> str:
        """Return base64, 88 characters."""
        return base64.b64encode(self._key.sign(payload)).decode()


def signer_of(secret: str) -> Signer:
    """Return the signer a secret asks for: a PEM private key means Ed25519, anything else HMAC.

    Raises:
        ConfigError: a PEM that is no unencrypted Ed25519 private key.
    """
    if "-----BEGIN" not in secret:
        return HmacSigner(secret)
    try:
        key = load_pem_private_key(secret.encode(), password=None)
    except (ValueError, TypeError) as error:
        raise ConfigError(
            "the API secret looks like a PEM key but is unreadable; export it as unencrypted PKCS#8"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError("the API secret is a PEM key of another kind than Ed25519; use Ed25519 or an HMAC secret")
    return Ed25519Signer(key)


def encoded(params: Params) -> str:
    """Return k=v&k=v with values percent-encoded as UTF-8."""
    return "&".join(f"{name}={quote(value, safe='')}" for name, value in params)


def signed_query(params: Params, signer: Signer) -> str:
    """Return the query string of a signed REST call, signature last."""
    payload = encoded(params)
    return f"{payload}&signature={quote(signer.sign(payload.encode()), safe='')}"


def signed_params(params: dict[str, str | int], signer: Signer) -> dict[str, str | int]:
    """Return the params of a signed WebSocket API request; ``apiKey`` and ``timestamp`` are among them already."""
    payload = "&".join(f"{name}={params[name]}" for name in sorted(params))
    return {**params, "signature": signer.sign(payload.encode())}
