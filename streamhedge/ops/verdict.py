"""PASS or FAIL of a run against an exchange that tells the truth: computed, never claimed."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from streamhedge.runtime.replay import ReplayResult

ALLOWED_REST = frozenset(
    {
        *("POST /fapi/v1/order", "DELETE /fapi/v1/order", "POST /fapi/v1/algoOrder", "DELETE /fapi/v1/algoOrder"),
        *("GET /fapi/v1/openOrders", "GET /fapi/v1/openAlgoOrders", "GET /fapi/v1/exchangeInfo"),
        *("GET /fapi/v1/leverageBracket", "GET /fapi/v1/fundingInfo", "GET /fapi/v1/commissionRate"),
        *("GET /fapi/v1/accountConfig", "GET /fapi/v1/symbolConfig", "POST /fapi/v1/leverage"),
        *("POST /fapi/v1/marginType", "POST /fapi/v1/listenKey", "PUT /fapi/v1/listenKey"),
        "DELETE /fapi/v1/listenKey",
    }
)
"""PRODUCT §9, the whole list."""


def judge(
    summary: Mapping[str, Any], truth: Mapping[str, Any] | None, replayed: ReplayResult | str | None
) -> list[str]:
    """Return why a run failed; empty means PASS.

    Args:
        summary: What the hedger believes.
        truth: What the exchange knows; None against a venue that does not tell.
        replayed: The replay of the run's recording, or why it could not be replayed; None when none was asked.
    """
    found = unfinished(summary, truth)
    if summary["liquidated"]:
        found.append(f"liquidated {summary['liquidated']} time(s)")
    if truth is not None:
        found += _against(summary, truth)
    if isinstance(replayed, str):
        found.append(f"the recording does not replay: {replayed}")
    elif replayed is not None:
        if replayed.diverged is not None:
            found.append(f"replay diverged at input {replayed.diverged['seq']}")
        elif replayed.digest != summary["digest"]:
            found.append(f"replay ends with digest {replayed.digest[:16]}, the run with {summary['digest'][:16]}")
    return found


def unfinished(summary: Mapping[str, Any], truth: Mapping[str, Any] | None) -> list[str]:
    """Return what was still under way: at the end of a run it is a failure, at a stop in the middle it is expected."""
    found = []
    # That a run stops is no reason for what was naked before.
    named = [row for row in summary["blocked"] if row["cause"] != "stopping"]
    if not summary["in_band"] and not named:
        found.append(f"naked {summary['naked_usd']} USD is outside the band and nothing names a reason")
    if summary["in_doubt"]:
        found.append(f"{summary['in_doubt']} order(s) still in doubt")
    if truth is None:
        return found
    ours = {symbol: Decimal(text) for symbol, text in summary["positions"].items()}
    theirs = {symbol: Decimal(text) for symbol, text in truth["positions"].items()}
    if ours != theirs:
        found.append(f"the book says {_words(ours)}, the exchange {_words(theirs)}")
    wallet = Decimal(summary["wallet"].get("USDT", "0"))
    if wallet != Decimal(truth["wallet"]):
        found.append(f"the book says wallet {wallet}, the exchange {truth['wallet']}")
    return found


def _against(summary: Mapping[str, Any], truth: Mapping[str, Any]) -> list[str]:
    found = []
    posts = [*truth["wire_posts"].items(), *truth["algo_posts"].items()]
    twice = {name: count for name, count in posts if count > 1}
    if twice:
        found.append(f"client order ids sent more than once: {twice}")
    foreign = [name for name in truth["wire_posts"] if name not in summary["all_client_order_ids"]]
    if foreign:
        found.append(f"orders that the ledger does not know: {foreign}")
    calls = [call for call in truth["rest_calls"] if call not in ALLOWED_REST]
    if calls:
        found.append(f"REST calls outside the list: {calls}")
    if truth["liquidations"]:
        found.append(f"the exchange liquidated the account {truth['liquidations']} time(s)")
    return found


def _words(positions: Mapping[str, Decimal]) -> str:
    return ", ".join(f"{symbol} {quantity:f}" for symbol, quantity in positions.items()) or "flat"
