"""The order table over any sequence of reports: total, and an end stays an end unless there is evidence of life."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamhedge.domain.order import OPEN_STATUSES, TERMINAL_STATUSES, TRANSITIONS, OrderStatus, Report, next_status

REPORTS = st.lists(st.sampled_from(list(Report)), max_size=12)
STATUSES = st.sampled_from(list(OrderStatus))
OF_LIFE = (Report.ACCEPTED, Report.FILL, Report.FILLED, Report.ENDED)


def test_the_table_is_total_and_holds_nothing_else() -> None:
    assert set(TRANSITIONS) == {(status, report) for status in OrderStatus for report in Report}


@given(STATUSES, REPORTS)
def test_an_end_is_left_only_on_evidence_of_life(status: OrderStatus, reports: list[Report]) -> None:
    for report in reports:
        after = next_status(status, report)
        if status is OrderStatus.FILLED:
            assert after is OrderStatus.FILLED
        elif status is OrderStatus.ENDED:
            assert after is (OrderStatus.FILLED if report is Report.FILLED else OrderStatus.ENDED)
        elif status in TERMINAL_STATUSES and after in OPEN_STATUSES:
            assert report in OF_LIFE
        status = after


@given(STATUSES, REPORTS)
def test_no_report_unsends_an_order(status: OrderStatus, reports: list[Report]) -> None:
    for report in reports:
        after = next_status(status, report)
        assert after is not OrderStatus.PLANNED, "whatever is heard of an order, it is more than planned"
        status = after


@given(STATUSES, st.sampled_from(list(Report)))
def test_hearing_the_same_twice_is_hearing_it_once(status: OrderStatus, report: Report) -> None:
    once = next_status(status, report)
    assert next_status(once, report) is once


@pytest.mark.fault("O1", "O6")
@given(STATUSES, REPORTS)
def test_only_a_refusal_or_the_absence_rule_ends_an_order_without_the_venue(
    status: OrderStatus, reports: list[Report]
) -> None:
    for report in reports:
        after = next_status(status, report)
        if status in OPEN_STATUSES and after in TERMINAL_STATUSES:
            assert report in (Report.FILLED, Report.ENDED, Report.REFUSED, Report.ABSENT)
        if report is Report.DOUBT:
            assert after not in (OrderStatus.REFUSED, OrderStatus.ABSENT) or after is status
        status = after


@pytest.mark.fault("O4")
@given(st.permutations([Report.ACCEPTED, Report.FILL, Report.FILLED]))
def test_the_channels_of_a_filled_order_may_race(reports: list[Report]) -> None:
    status = OrderStatus.PLANNED
    for report in reports:
        status = next_status(status, report)
    assert status is OrderStatus.FILLED
