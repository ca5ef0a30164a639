"""What the published examples of WebSocket API frames and REST bodies decode to, written by hand."""

from __future__ import annotations

from decimal import Decimal

from streamhedge.domain.events import OutcomeKind, PositionSide, SnapshotBalance, SnapshotPosition
from streamhedge.domain.order import Report
from streamhedge.domain.values import Asset, Symbol

D = Decimal
BTCUSDT = Symbol("BTCUSDT")
USDT = Asset("USDT")


def row(symbol: str, quantity: str, entry: str, break_even: str, mark: str, **said: object) -> SnapshotPosition:
    """Return one snapshot row, cross margin on USDT and one-way where nothing else is said."""
    fields: dict[str, object] = {
        "symbol": Symbol(symbol),
        "position_side": PositionSide.BOTH,
        "quantity": D(quantity),
        "entry_price": D(entry),
        "break_even_price": D(break_even),
        "mark_price": D(mark),
        "liquidation_price": D(0),
        "isolated": False,
        "isolated_wallet": D(0),
        "maintenance_margin": D(0),
        "initial_margin": D(0),
        "margin_asset": USDT,
        "adl": 0,
        **said,
    }
    return SnapshotPosition(**fields)  # type: ignore[arg-type]


BTC_SHORT = row(
    "BTCUSDT",
    "-0.25",
    "76409.9",
    "76371.69505",
    "76412.3",
    liquidation_price=D("151578.06216625"),
    maintenance_margin=D("76.4123"),
    initial_margin=D("955.15375"),
    adl=2,
    update_time_ms=1795161599000,
)
ETH_ISOLATED = row(
    "ETHUSDT",
    "-1",
    "2468.4",
    "2466.91896",
    "2475.24",
    liquidation_price=D("3653.73934967"),
    isolated=True,
    isolated_wallet=D("1199.95430707"),
    maintenance_margin=D("9.90096"),
    initial_margin=D("247.524"),
    adl=1,
    update_time_ms=1795154400000,
)
SOL_FLAT = row("SOLUSDT", "0", "0", "0", "168.41", initial_margin=D("42.1025"), update_time_ms=1795161599500)
BTC_LONG_SIDE = row(
    "BTCUSDT",
    "3",
    "74000",
    "74037",
    "76412.3",
    position_side=PositionSide.LONG,
    liquidation_price=D("65524.19354839"),
    maintenance_margin=D("916.9476"),
    initial_margin=D("11461.845"),
    adl=3,
    update_time_ms=1795161510000,
)
BTC_SHORT_SIDE = row(
    "BTCUSDT",
    "-1",
    "77000",
    "76961.5",
    "76412.3",
    position_side=PositionSide.SHORT,
    liquidation_price=D("65524.19354839"),
    maintenance_margin=D("305.6492"),
    initial_margin=D("3820.615"),
    adl=3,
    update_time_ms=1795161520000,
)
BTC_SHORT_V1 = row(
    "BTCUSDT",
    "-0.25",
    "76409.9",
    "76371.69505",
    "76412.3",
    liquidation_price=D("151578.06216625"),
    margin_asset=None,
    update_time_ms=1795161599000,
)
BALANCES = (
    SnapshotBalance(USDT, D("20143.5729108"), D("18943.61860373"), D("17945.76235373"), 1795161599000),
    SnapshotBalance(Asset("BNB"), D("1.2044"), D("1.2044"), D("1.2044"), 1795075200000),
)

POSITIONS: dict[str, tuple[SnapshotPosition, ...]] = {
    "wsapi_position_v2_response_one_way.json": (BTC_SHORT, ETH_ISOLATED, SOL_FLAT),
    "wsapi_position_v2_response_hedge.json": (BTC_LONG_SIDE, BTC_SHORT_SIDE),
    "wsapi_position_v1_response.json": (BTC_SHORT_V1,),
    "rest_position_risk_v3_response.json": (BTC_SHORT, ETH_ISOLATED),
}
"""Bodies that list positions; REST has the same rows, and this program never asks for them there."""
BALANCE_LISTS = ("wsapi_balance_v2_response.json", "rest_balance_v3_response.json")

ANSWERS: dict[str, tuple[str | None, int, int, str]] = {
    # file: id, status, code, message
    "wsapi_account_status_v2_response.json": ("snap-acc-1", 200, 0, ""),
    "wsapi_algo_order_cancel_response.json": ("algo-cxl-3", 200, 0, ""),
    "wsapi_algo_order_place_response.json": ("algo-3", 200, 0, ""),
    "wsapi_balance_v2_response.json": ("snap-bal-1", 200, 0, ""),
    "wsapi_error_missing_param.json": (
        "mod-5",
        400,
        -1102,
        "Mandatory parameter 'quantity' was not sent, was empty/null, or malformed.",
    ),
    "wsapi_error_rate_limited.json": (
        "snap-pos-9",
        429,
        -1003,
        "Too many requests; current limit is 2400 requests per minute. Please use the websocket for live updates to "
        "avoid polling the API.",
    ),
    "wsapi_order_cancel_error_unknown_order.json": ("cxl-99", 400, -2011, "Unknown order sent."),
    "wsapi_order_cancel_response.json": ("cxl-17", 200, 0, ""),
    "wsapi_order_modify_response.json": ("mod-4", 200, 0, ""),
    "wsapi_order_place_error_margin.json": ("ord-22", 400, -2019, "Margin is insufficient."),
    "wsapi_order_place_error_throttled.json": (
        "ord-24",
        503,
        -1008,
        "Request throttled by system-level protection. Reduce-only/close-position orders are exempt. Please try again.",
    ),
    "wsapi_order_place_error_unknown_status.json": (
        "ord-23",
        503,
        -1007,
        "Timeout waiting for response from backend server. Send status unknown; execution status unknown.",
    ),
    "wsapi_order_place_response.json": ("ord-18", 200, 0, ""),
    "wsapi_order_status_error_not_found.json": ("qry-77", 400, -2013, "Order does not exist."),
    "wsapi_order_status_response.json": ("qry-18", 200, 0, ""),
    "wsapi_position_v1_response.json": ("snap-cfg-1", 200, 0, ""),
    "wsapi_position_v2_response_hedge.json": ("snap-pos-2", 200, 0, ""),
    "wsapi_position_v2_response_one_way.json": ("snap-pos-1", 200, 0, ""),
    "wsapi_revoked_frame.json": (None, 401, -2015, "Invalid API-key, IP, or permissions for action."),
    "wsapi_session_logon_response.json": ("logon-1", 200, 0, ""),
    "wsapi_session_logout_response.json": ("logout-1", 200, 0, ""),
    "wsapi_session_status_response.json": ("status-1", 200, 0, ""),
    "wsapi_ticker_book_response.json": ("bbo-1", 200, 0, ""),
    "wsapi_ticker_price_response.json": ("px-1", 200, 0, ""),
    "wsapi_user_data_stream_ping_response.json": ("lk-2", 200, 0, ""),
    "wsapi_user_data_stream_start_response.json": ("lk-1", 200, 0, ""),
    "wsapi_user_data_stream_stop_response.json": ("lk-3", 200, 0, ""),
    "spot_subscribe_signature_response.json": ("sp-1", 200, 0, ""),
}

REQUESTS = (
    "spot_subscribe_request_after_logon.json",
    "spot_subscribe_signature_request.json",
    "wsapi_algo_order_place_request.json",
    "wsapi_balance_v2_request.json",
    "wsapi_order_cancel_request.json",
    "wsapi_order_modify_request.json",
    "wsapi_order_place_request.json",
    "wsapi_order_status_request.json",
    "wsapi_position_v2_request_logged_on.json",
    "wsapi_position_v2_request_signed.json",
    "wsapi_session_logon_request.json",
    "wsapi_user_data_stream_start_request.json",
)
"""What a client sends: as an answer each is malformed."""

ORDER_ANSWERS: dict[str, tuple[str, OutcomeKind, Report, Decimal, int | None]] = {
    # file: the id that was sent, what the answer proves, its refinement, filled, order id
    "rest_order_new_response_ack.json": (
        "sh-7f3a91c2-000018",
        OutcomeKind.ACCEPTED,
        Report.ACCEPTED,
        D(0),
        812345678955,
    ),
    "rest_order_new_response_limit_hedge.json": (
        "sh-7f3a91c2-000017",
        OutcomeKind.ACCEPTED,
        Report.ACCEPTED,
        D(0),
        812345678901,
    ),
    "rest_order_new_response_result_market.json": (
        "sh-7f3a91c2-000018",
        OutcomeKind.ACCEPTED,
        Report.FILLED,
        D("0.25"),
        812345678955,
    ),
    "rest_batch_orders_response.json": ("sh-7f3a91c2-000018", OutcomeKind.IN_DOUBT, Report.DOUBT, D(0), None),
}
"""A list is no answer to one order, even when the order is in it."""

REFUSALS: tuple[tuple[int, int, str, OutcomeKind], ...] = (
    # HTTP status, code (0: none), start of the text, what it proves; in the order of rest_error_bodies.json
    (503, 0, "Unknown error, please check", OutcomeKind.IN_DOUBT),
    (503, 0, "Service Unavailable.", OutcomeKind.REFUSED),
    (503, -1008, "Request throttled by system-level protection.", OutcomeKind.REFUSED),
    (503, -1001, "Internal error; unable to process", OutcomeKind.REFUSED),
    (408, -1007, "Timeout waiting for response", OutcomeKind.IN_DOUBT),
    (429, -1003, "Too many requests;", OutcomeKind.REFUSED),
    (418, -1003, "Way too many requests; IP banned until 1795161900000.", OutcomeKind.REFUSED),
    (400, -1021, "Timestamp for this request", OutcomeKind.REFUSED),
    (400, -1022, "Signature for this request", OutcomeKind.REFUSED),
    (401, -2015, "Invalid API-key, IP,", OutcomeKind.REFUSED),
    (400, -2022, "ReduceOnly Order is rejected.", OutcomeKind.REFUSED),
    (400, -4061, "Order's position side", OutcomeKind.REFUSED),
    (400, -4120, "Order type not supported", OutcomeKind.REFUSED),
    (400, -4164, "Order's notional must be", OutcomeKind.REFUSED),
    (400, -5022, "Due to the order could not be executed as maker", OutcomeKind.REFUSED),
)

SETUP = (
    "rest_account_config_response.json",
    "rest_commission_rate_response.json",
    "rest_exchange_info_excerpt.json",
    "rest_funding_info_response.json",
    "rest_leverage_bracket_response.json",
    "rest_symbol_config_response.json",
)
"""The answers that make the set-up together."""

LISTEN_KEYS: dict[str, str] = {
    "rest_listen_key_post_response.json": "qW3nT8vZ1kLm0RyP5sUe7XoBc2DfGhJi4aQzNwEtYr6MpVbKxCuSd9HlAgFjOq0T",
    "rest_listen_key_put_response.json": "qW3nT8vZ1kLm0RyP5sUe7XoBc2DfGhJi4aQzNwEtYr6MpVbKxCuSd9HlAgFjOq0T",
    "rest_listen_key_delete_response.json": "",
}

FAILED_CALLS: dict[str, tuple[str, int, str]] = {
    # file: label of the call, code, message
    "rest_listen_key_put_error_expired.json": ("listen_key", -1125, "This listenKey does not exist."),
    "rest_margin_type_error_no_change.json": ("margin_type", -4046, "No need to change margin type."),
}

NOT_READ: dict[str, str] = {
    # file: why nothing of it is decoded
    "rest_leverage_response.json": "POST /fapi/v1/leverage",
    "rest_margin_type_response.json": "POST /fapi/v1/marginType",
    "rest_order_cancel_response.json": "DELETE /fapi/v1/order",
}
"""Calls of ours whose success tells nothing the streams do not tell."""

STOPS = {
    "rest_algo_order_cancel_response.json": ("cancel_stop", True),
    "rest_algo_order_response.json": ("stop", False),
}
"""Answers to the requests about a stop: label, and whether it is the cancel's."""

NOT_ASKED: dict[str, tuple[str, str]] = {
    "rest_cancel_all_response.json": ("DELETE", "/fapi/v1/allOpenOrders"),
    "rest_countdown_cancel_all_response.json": ("POST", "/fapi/v1/countdownCancelAll"),
    "rest_funding_rate_history_response.json": ("GET", "/fapi/v1/fundingRate"),
    "rest_income_response.json": ("GET", "/fapi/v1/income"),
    "rest_order_query_response.json": ("GET", "/fapi/v1/order"),
    "rest_position_mode_get_response.json": ("GET", "/fapi/v1/positionSide/dual"),
    "rest_position_mode_post_response.json": ("POST", "/fapi/v1/positionSide/dual"),
    "rest_premium_index_response.json": ("GET", "/fapi/v1/premiumIndex"),
}
"""Bodies of calls this program does not make."""
