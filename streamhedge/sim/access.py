"""Who may do what, and how often: API keys, signatures, timestamps, listen keys, rate limits."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import random
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from streamhedge.sim.refusals import Refusal, whole

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
KEY_LIFE_MS = 3_600_000
WEIGHT_PER_MINUTE, ORDERS_PER_10S, ORDERS_PER_MINUTE = 2_400, 300, 1_200
BAN_AFTER = 10
"""Requests answered 429 within a minute before the address is banned (418)."""
BAN_MS = 120_000


@dataclass(slots=True)
class Keys:
    """The account's API keys: an HMAC secret, and an Ed25519 public key as PEM for keys of that kind."""

    api_key: str
    api_secret: str
    ed25519: dict[str, str] = field(default_factory=dict)

    def known(self, api_key: str) -> None:
        """Refuse a key that is none of ours."""
        if not api_key:
            raise Refusal(-2014)
        if api_key != self.api_key and api_key not in self.ed25519:
            raise Refusal(-2015)

    def check(self, api_key: str, payload: bytes, signature: str) -> None:
        """Refuse a signature that does not belong to the payload."""
        self.known(api_key)
        if api_key in self.ed25519:
            public = load_pem_public_key(self.ed25519[api_key].encode())
            try:
                if not isinstance(public, Ed25519PublicKey):
                    raise Refusal(-1022)
                public.verify(base64.b64decode(signature, validate=True), payload)
            except (InvalidSignature, binascii.Error, ValueError) as error:
                raise Refusal(-1022) from error
            return
        wanted = hmac.new(self.api_secret.encode(), payload, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(wanted.encode(), signature.lower().encode()):
            raise Refusal(-1022)


def check_time(timestamp: str, window: str, now_ms: int) -> None:
    """Refuse a request from more than a second ahead, or older than its window."""
    at_ms = whole(timestamp, -1102, "timestamp")
    life_ms = min(whole(window or "5000", -1130, "recvWindow"), 60_000)
    if at_ms >= now_ms + 1_000 or now_ms - at_ms > life_ms:
        raise Refusal(-1021)


@dataclass(slots=True)
class ListenKey:
    """The one listen key of the account; empty when none is alive."""

    chance: random.Random
    key: str = ""
    ends_ms: int = 0

    def start(self, now_ms: int) -> str:
        """Return the key, made when none is alive, extended otherwise."""
        if not self.alive(now_ms):
            self.key = "".join(self.chance.choice(ALPHABET) for _ in range(64))
        self.ends_ms = now_ms + KEY_LIFE_MS
        return self.key

    def renew(self, now_ms: int) -> str:
        """Extend the key or refuse with -1125."""
        if not self.alive(now_ms):
            raise Refusal(-1125)
        self.ends_ms = now_ms + KEY_LIFE_MS
        return self.key

    def alive(self, now_ms: int) -> bool:
        """True while the key delivers."""
        return bool(self.key) and now_ms < self.ends_ms

    def end(self) -> str:
        """Kill the key and return what it was."""
        ended, self.key = self.key, ""
        return ended


@dataclass(slots=True)
class Limits:
    """Request weight and orders in sliding windows."""

    weights: deque[tuple[int, int]] = field(default_factory=deque)
    tenants: deque[tuple[int, int]] = field(default_factory=deque)
    """What of ``weights`` others behind the same address used."""
    orders: deque[int] = field(default_factory=deque)
    refused: deque[int] = field(default_factory=deque)
    banned_until_ms: int = 0
    why: Refusal = field(default_factory=lambda: Refusal(-1003))
    weight_most: int = WEIGHT_PER_MINUTE

    def _clean(self, now_ms: int) -> None:
        while self.weights and self.weights[0][0] <= now_ms - 60_000:
            self.weights.popleft()
        # By the row itself: while the clock is off, rows do not leave in the order of their stamps.
        while self.tenants and self.tenants[0] not in self.weights:
            self.tenants.popleft()
        for window in (self.orders, self.refused):
            while window and window[0] <= now_ms - 60_000:
                window.popleft()

    @property
    def weight(self) -> int:
        """Weight used in the last minute."""
        return sum(weight for _, weight in self.weights)

    def recent(self, now_ms: int) -> int:
        """Orders of the last ten seconds."""
        return sum(1 for moment in self.orders if moment > now_ms - 10_000)

    def spend(self, weight: int, orders: int, now_ms: int) -> int | None:
        """Count a request; return seconds to wait when it is over a limit, None when it may pass."""
        self._clean(now_ms)
        if now_ms < self.banned_until_ms:
            return (self.banned_until_ms - now_ms) // 1_000 + 1
        over = self._over(weight, orders, now_ms)
        if over is None:
            self.weights.append((now_ms, weight))
            self.orders.extend([now_ms] * orders)
            return None
        since_ms, window_ms, self.why = over
        self.refused.append(now_ms)
        if len(self.refused) > BAN_AFTER:
            self.banned_until_ms = now_ms + BAN_MS
            return BAN_MS // 1_000
        return max(1, (since_ms + window_ms - now_ms + 999) // 1_000)

    def _over(self, weight: int, orders: int, now_ms: int) -> tuple[int, int, Refusal] | None:
        """Return the oldest count of the window that is full, its length, and the refusal; None when none is."""
        if weight and self.weight + weight > self.weight_most:
            return self.weights[0][0] if self.weights else now_ms, 60_000, Refusal(-1003)
        if orders and self.recent(now_ms) + orders > ORDERS_PER_10S:
            oldest = self.orders[-self.recent(now_ms)]
            return oldest, 10_000, Refusal(-1015, ORDERS_PER_10S, "10 SECOND")
        if orders and len(self.orders) + orders > ORDERS_PER_MINUTE:
            return self.orders[0], 60_000, Refusal(-1015, ORDERS_PER_MINUTE, "MINUTE")
        return None

    def words(self, now_ms: int) -> tuple[int, dict[str, Any]]:
        """Return status and body of the last request over a limit."""
        if not self.banned(now_ms):
            return self.why.status, self.why.body
        text = (
            f"Way too many requests; IP banned until {self.banned_until_ms}. "
            "Please use the websocket for live updates to avoid bans."
        )
        return 418, {"code": -1003, "msg": text}

    def banned(self, now_ms: int) -> bool:
        """True while the address is banned."""
        return now_ms < self.banned_until_ms

    def headers(self, now_ms: int, *, orders: bool) -> dict[str, str]:
        """Return the counters as the venue sends them."""
        found = {"x-mbx-used-weight-1m": str(self.weight)}
        if orders:
            found["x-mbx-order-count-10s"] = str(self.recent(now_ms))
            found["x-mbx-order-count-1m"] = str(len(self.orders))
        return found
