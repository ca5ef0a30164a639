"""Months of a treasury: the funding ledger against the exchange's books, and every change of value against its line."""

from __future__ import annotations

import argparse

import orjson

from tests.simulation.month import Month


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say which months, and how long one is."""
    parser.add_argument("--months", type=int, default=20)
    parser.add_argument("--first", type=int, default=1_000)
    parser.add_argument("--days", type=int, default=30)


def main(said: argparse.Namespace) -> int:
    """Live through them; 0 when all books agree."""
    wrong: dict[int, list[str]] = {}
    payments = unassigned = 0
    print(f"{'seed':>6} {'payments':>9} {'funding':>16} {'value gained':>18} {'largest residual':>17}")
    for seed in range(said.first, said.first + said.months):
        books = Month(seed, days=said.days).run()
        payments, unassigned = payments + books.payments, unassigned + books.unassigned
        residual = max(abs(left) for left in books.residual_days.values())
        print(f"{seed:>6} {books.payments:>9} {books.our_funding:>16.8f} {books.gained:>18.8f} {residual:>17.10f}")
        if books.wrong():
            wrong[seed] = books.wrong()
            print(*(f"       {text}" for text in wrong[seed]), sep="\n")
    summary = {"months": said.months, "payments": payments, "unassigned": unassigned, "wrong": len(wrong)}
    print(orjson.dumps(summary).decode())
    return 1 if wrong else 0
