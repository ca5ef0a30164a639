"""Quantities with units: what is understood, exactly, and what is refused."""

from __future__ import annotations

import decimal
from decimal import Decimal

import pytest

from streamhedge.settings.units import amount, fraction, milliseconds, split_unit, whole

D = Decimal


@pytest.mark.parametrize(
    ("said", "number", "unit"),
    [
        ("50 USDT", D(50), "USDT"),
        ("250_000 USDT", D(250_000), "USDT"),
        ("-10_000USDT", D(-10_000), "USDT"),
        ("  20 % ", D(20), "%"),
        ("+0.00000001 BTC", D("0.00000001"), "BTC"),
        (7, D(7), ""),
        (D("0.00000001"), D("0.00000001"), ""),
        (D("1E+3"), D(1000), ""),
    ],
)
def test_a_quantity_is_a_number_and_a_unit(said: object, number: Decimal, unit: str) -> None:
    assert split_unit(said) == (number, unit)


@pytest.mark.parametrize(
    "said",
    ["", "USDT", "1,000 USDT", "1e3", "0x10", "5.", ".5", "1 2", "50 US$", "nan", "inf", "١", True, 1.5, None, []],
)
@pytest.mark.fault("K1")
def test_what_is_no_quantity_is_refused(said: object) -> None:
    with pytest.raises(ValueError):
        split_unit(said)


@pytest.mark.parametrize("said", [D("NaN"), D("Infinity"), D("-Infinity")])
def test_a_number_that_is_none_is_refused(said: Decimal) -> None:
    with pytest.raises(ValueError):
        split_unit(said)


def test_an_amount_has_its_unit_or_none() -> None:
    assert amount("10 BTC", unit="BTC") == amount("10", unit="BTC") == D(10)
    with pytest.raises(ValueError, match="expected BTC, got '10 ETH'"):
        amount("10 ETH", unit="BTC")


@pytest.mark.parametrize(
    ("said", "value"), [("20 %", "0.2"), ("0.65%", "0.0065"), (D("0.2"), "0.2"), (1, "1"), ("150 %", "1.5")]
)
def test_a_fraction_is_a_percentage_or_bare(said: object, value: str) -> None:
    assert fraction(said) == D(value)


@pytest.mark.parametrize("said", [30, "30", D("1.01"), "-20"])
def test_a_percentage_without_its_sign_is_refused(said: object) -> None:
    with pytest.raises(ValueError, match=r"without a unit is -?\d+.* %; write"):
        fraction(said)


def test_a_fraction_has_no_other_unit() -> None:
    with pytest.raises(ValueError, match="expected a percentage"):
        fraction("20 USDT")


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ("250ms", 250),
        ("2s", 2_000),
        ("1.5 s", 1_500),
        ("10m", 600_000),
        ("1min", 60_000),
        ("8h", 28_800_000),
        ("7d", 604_800_000),
    ],
)
def test_a_duration_is_whole_milliseconds(said: str, value: int) -> None:
    assert milliseconds(said) == value


@pytest.mark.parametrize("said", ["2", 2, "2 S", "2 weeks", "-2s", "0.5ms", "2 %"])
def test_what_is_no_duration_is_refused(said: object) -> None:
    with pytest.raises(ValueError, match="expected a duration"):
        milliseconds(said)


@pytest.mark.parametrize(("said", "value"), [(3, 3), ("3", 3), ("1_000", 1_000), (D("3.0"), 3), ("-1", -1)])
def test_a_whole_number(said: object, value: int) -> None:
    assert whole(said) == value


@pytest.mark.parametrize("said", ["2.5", D("2.5"), "3 BTC", True])
def test_what_is_no_whole_number_is_refused(said: object) -> None:
    with pytest.raises(ValueError):
        whole(said)


def test_the_callers_decimal_context_does_not_matter() -> None:
    with decimal.localcontext(prec=2):
        assert fraction("12.345 %") == D("0.12345")
        assert milliseconds("12.345s") == 12_345
