"""Rounding says which way, and nothing depends on the caller's decimal context."""

from __future__ import annotations

import decimal
from decimal import Decimal

import pytest

from streamhedge.domain.values import ceil_step, decimal_from, divide, exact, floor_step, plain_text

D = Decimal


def test_steps_round_the_way_their_name_says() -> None:
    assert floor_step(D("10.14898378"), D("0.001")) == D("10.148")
    assert ceil_step(D("3.3826666"), D("0.001")) == D("3.383")
    assert floor_step(D("-0.0005"), D("0.001")) == D("-0.001")


def test_a_poor_context_of_the_host_changes_nothing() -> None:
    with decimal.localcontext() as host:
        host.prec = 4
        assert floor_step(D("66450.2345"), D("0.1")) == D("66450.2")
        assert divide(D(1), D(3)) == D("0." + "3" * 34)
        with exact():
            assert D("67121.4") * D("0.99") == D("66450.186")


def test_exact_refuses_floats() -> None:
    with exact(), pytest.raises(decimal.FloatOperation):
        Decimal(1 / 10)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "1e999", "", "abc", "0x10", "1e30"])
def test_what_is_no_sensible_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="number"):
        decimal_from(text)


@pytest.mark.parametrize(("value", "text"), [("0.250", "0.25"), ("100", "100"), ("1E+3", "1000"), ("0.000", "0")])
def test_plain_text_has_no_exponent_and_no_trailing_zeros(value: str, text: str) -> None:
    assert plain_text(D(value)) == text
