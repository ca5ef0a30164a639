"""The conformance cards: what a stranger's client must be able to do at the exchange, numbered and in order.

A card may rest on the ones before it: 7 opens the short that 17 closes. Written by nobody at run time.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Card:
    """One card: its number, the name of the method that plays it, what it proves."""

    number: int
    name: str
    title: str


TITLES = (
    ("exchange_info", "exchange info: BTCUSDT trades, with its tick, step and minimum notional"),
    ("mark_price_rest", "mark price by REST"),
    ("mark_price_stream", "mark price by stream"),
    ("listen_key", "listen key: made, and kept alive"),
    ("balances", "balances"),
    ("flat", "positions: none while flat"),
    ("market_sell", "MARKET SELL opens a short"),
    ("fill_event", "its fill arrives on the user stream with order id, client id and trade id"),
    ("account_event", "its position arrives on the user stream"),
    ("add", "MARKET SELL adds to the short"),
    ("limit", "LIMIT rests, is listed, and is cancelled"),
    ("limit_events", "its NEW and CANCELED arrive on the user stream"),
    ("post_only", "GTX that would take is refused (-5022)"),
    ("ioc", "IOC fills what the book has and expires the remainder"),
    ("reduce_part", "reduce-only closes part of the short"),
    ("no_flip", "reduce-only larger than the short is cut down to it"),
    ("reduce_flat", "reduce-only is refused when flat (-2022)"),
    ("leverage", "leverage is set"),
    ("leverage_event", "its ACCOUNT_CONFIG_UPDATE arrives on the user stream"),
    ("margin_type", "margin type is set, and refused when it is so already (-4046)"),
    ("margin_type_event", "its ACCOUNT_UPDATE arrives on the user stream"),
    ("subscribe", "SUBSCRIBE brings frames of one more stream"),
    ("list_subscriptions", "LIST_SUBSCRIPTIONS names them"),
    ("unsubscribe", "UNSUBSCRIBE ends them"),
    ("ws_place", "WebSocket API: order.place"),
    ("ws_status", "WebSocket API: order.status"),
    ("ws_positions", "WebSocket API: positions"),
    ("old_timestamp", "a late timestamp is refused (-1021)"),
    ("bad_signature", "a wrong signature is refused (-1022)"),
    ("precision", "too fine a quantity is refused (-1111)"),
    ("bad_symbol", "an unknown symbol is refused (-1121)"),
    ("cancel_unknown", "cancelling an unknown order is refused (-2011)"),
    ("query_unknown", "an unknown order is not found (-2013)"),
    ("too_small", "below the minimum notional is refused (-4164)"),
    ("same_id", "the client id of an open order is refused (-4116)"),
)
CARDS = tuple(Card(number, name, title) for number, (name, title) in enumerate(TITLES, 1))
