"""Float trades as a program says them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from streamhedge.live.trades import Buy, Deposit, Sell, SetFloat, Withdraw


@pytest.mark.parametrize("maker", [Buy, Sell, Deposit, Withdraw, SetFloat])
def test_every_trade_can_be_confirmed_and_none_is_by_itself(maker: Callable[..., Any]) -> None:
    assert not maker("1", reason="audit").confirmed
    assert maker("1", reason="audit", confirmed=True).confirmed
