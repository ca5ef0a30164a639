"""The order transition table is total, and evidence of life beats lack of evidence."""

from __future__ import annotations

import pytest

from streamhedge.domain import order as orders
from streamhedge.domain.order import OPEN_STATUSES, TERMINAL_STATUSES, OrderStatus, Report, next_status
from tests.support.shared import REPOSITORY


@pytest.mark.parametrize("status", list(OrderStatus))
@pytest.mark.parametrize("report", list(Report))
def test_every_status_has_an_answer_to_every_report(status: OrderStatus, report: Report) -> None:
    assert isinstance(next_status(status, report), OrderStatus)


@pytest.mark.parametrize("status", [OrderStatus.PLANNED, OrderStatus.IN_DOUBT])
@pytest.mark.fault("O1")
def test_no_answer_is_in_doubt_never_refused(status: OrderStatus) -> None:
    assert next_status(status, Report.DOUBT) is OrderStatus.IN_DOUBT


@pytest.mark.parametrize("report", [Report.DOUBT, Report.REFUSED, Report.ABSENT])
@pytest.mark.fault("O4")
def test_a_filled_order_stays_filled_whatever_a_slower_channel_says(report: Report) -> None:
    assert next_status(OrderStatus.FILLED, report) is OrderStatus.FILLED


@pytest.mark.fault("O4")
def test_a_late_refusal_cannot_undo_an_accepted_order() -> None:
    assert next_status(OrderStatus.WORKING, Report.REFUSED) is OrderStatus.WORKING


@pytest.mark.parametrize("closed", [OrderStatus.ABSENT, OrderStatus.REFUSED])
@pytest.mark.fault("O6")
def test_a_fill_reopens_what_was_closed_for_lack_of_evidence(closed: OrderStatus) -> None:
    assert next_status(closed, Report.FILLED) is OrderStatus.FILLED
    assert next_status(closed, Report.FILL) is OrderStatus.WORKING


def test_open_and_terminal_cover_all_statuses_once() -> None:
    assert sorted(s.name for s in (*OPEN_STATUSES, *TERMINAL_STATUSES)) == sorted(s.name for s in OrderStatus)


def test_every_report_is_made_somewhere_and_every_status_comes_of_one() -> None:
    """A state that nothing leads to is one nobody has tested."""
    code = "".join(
        path.read_text() for path in (REPOSITORY / "streamhedge").rglob("*.py") if str(path) != orders.__file__
    )
    assert [report for report in Report if f"Report.{report.name}" not in code] == []
    reached = [OrderStatus.PLANNED]
    for status in reached:
        reached += [after for report in Report if (after := next_status(status, report)) not in reached]
    assert {found.name for found in reached} == {found.name for found in OrderStatus}
