"""What the exchange says no with: each code, its HTTP status and its text."""

from __future__ import annotations

from typing import Any

UNKNOWN_STATUS = "Timeout waiting for response from backend server. Send status unknown; execution status unknown."

ERRORS: dict[int, tuple[int, str]] = {
    -1000: (400, "An unknown error occurred while processing the request."),
    -1003: (
        429,
        "Too many requests; current limit is 2400 requests per minute. "
        "Please use the websocket for live updates to avoid polling the API.",
    ),
    -1007: (503, UNKNOWN_STATUS),
    -1008: (
        503,
        "Request throttled by system-level protection. Reduce-only/close-position orders are exempt. Please try again.",
    ),
    -1015: (429, "Too many new orders; current limit is {0} orders per {1}."),
    -1016: (503, "This service is no longer available."),
    -1021: (400, "Timestamp for this request is outside of the recvWindow."),
    -1022: (400, "Signature for this request is not valid."),
    -1099: (400, "Not found, unauthenticated, or unauthorized."),
    -1102: (400, "Mandatory parameter '{0}' was not sent, was empty/null, or malformed."),
    -1106: (400, "Parameter '{0}' sent when not required."),
    -1111: (400, "Precision is over the maximum defined for this asset."),
    -1121: (400, "Invalid symbol."),
    -1125: (400, "This listenKey does not exist."),
    -1130: (400, "Data sent for parameter '{0}' is not valid."),
    -2010: (400, "Account has insufficient balance for requested action."),
    -2011: (400, "Unknown order sent."),
    -2013: (400, "Order does not exist."),
    -2014: (401, "API-key format invalid."),
    -2015: (401, "Invalid API-key, IP, or permissions for action."),
    -2019: (400, "Margin is insufficient."),
    -2022: (400, "ReduceOnly Order is rejected."),
    -2025: (400, "Reach max open order limit."),
    -2021: (400, "Order would immediately trigger."),
    -2023: (400, "User in liquidation mode now."),
    -2027: (400, "Exceeded the maximum allowable position at current leverage."),
    -4003: (400, "Quantity less than or equal to zero."),
    -4004: (400, "Quantity less than min quantity."),
    -4005: (400, "Quantity greater than max quantity."),
    -4013: (400, "Price less than min price."),
    -4014: (400, "Price not increased by tick size."),
    -4015: (400, "Client order id length should not be more than 36 chars."),
    -4016: (400, "Price is higher than mark price multiplier cap."),
    -4023: (400, "Quantity not increased by step size."),
    -4024: (400, "Price is lower than mark price multiplier floor."),
    -4028: (400, "Leverage {0} is not valid."),
    -4045: (400, "Reach max stop order limit."),
    -4046: (400, "No need to change margin type."),
    -4047: (400, "Margin type cannot be changed if there exists open orders."),
    -4048: (400, "Margin type cannot be changed if there exists position."),
    -4059: (400, "No need to change position side."),
    -4171: (400, "No need to change asset mode."),
    -4061: (400, "Order's position side does not match user's setting."),
    -4067: (400, "Position side cannot be changed if there exists open orders."),
    -4068: (400, "Position side cannot be changed if there exists position."),
    -4116: (400, "ClientOrderId is duplicated."),
    -4118: (400, "ReduceOnly Order Failed. Please check your existing position and open orders."),
    -4120: (400, "Order type not supported for this endpoint. Please use the Algo Order API endpoints instead."),
    -4130: (400, "An open stop or take profit order with GTE and closePosition in the direction is existing."),
    -4131: (400, "The counterparty's best price does not meet the PERCENT_PRICE filter limit."),
    -4140: (400, "Invalid symbol status for opening position."),
    -4141: (400, "Symbol is closed."),
    -4161: (400, "Leverage reduction is not supported in Isolated Margin Mode with open positions."),
    -4164: (400, "Order's notional must be no smaller than {0} (unless you choose reduce only)."),
    -5021: (400, "Due to the order could not be filled immediately, the FOK order has been rejected."),
    -5022: (400, "Due to the order could not be executed as maker, the Post Only order will be rejected."),
}


class Refusal(Exception):
    """The exchange says no: an error code with its text filled in."""

    def __init__(self, code: int, *words: object) -> None:
        super().__init__(code)
        self.code = code
        self.status, text = ERRORS[code]
        self.body: dict[str, Any] = {"code": code, "msg": text.format(*words)}


def whole(text: str, code: int, *words: object) -> int:
    """Read a whole number as the exchange does: ASCII digits that fit 64 bits.

    Args:
        text: What was sent.
        code: What is said to anything else, filled in with ``words``.

    Raises:
        Refusal: It is anything else.
    """
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise Refusal(code, *words)
    return int(text)
