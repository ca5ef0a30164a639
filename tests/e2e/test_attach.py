"""The book of a running hedger in another process: equal figure by figure, through breaks and restarts, by both doors."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

import pytest

from streamhedge import AttachedBook, attach
from streamhedge.errors import AuthenticationError, ConfigError, NotRunning
from tests.support.processes import Account, exchange, room, until

D = Decimal
WEB = '[web]\nlisten = "127.0.0.1:0"\ntoken = { env = "TOKEN" }\n'


async def caught_up(account: Account, book: AttachedBook) -> None:
    """Wait until a look at both at once shows the same state."""

    async def same() -> bool:
        before = book.seq
        answer = await account.ask(verb="digest")
        assert answer is not None
        return bool(book.seq == before == answer["seq"] and book.digest() == answer["digest"])

    await until("the same state", same)


@pytest.mark.parametrize("door", ["socket", "page"])
async def test_the_book_of_another_process_is_the_same_book(door: str) -> None:
    with room() as folder:
        async with exchange(folder, "--tape", "calm") as venue:
            account = Account(folder, venue, more=WEB, env={"TOKEN": "open-sesame-now"})
            async with account.run("--json") as program:
                await until("hedged", account.hedged)
                found = re.search(r"http://127\.0\.0\.1:\d+", program.err)
                assert found is not None
                where: str | Path = account.place("sock") if door == "socket" else found.group()
                token = "open-sesame-now" if door == "page" else None
                async with attach(where, token=token) as book:
                    await book.live(10)
                    await caught_up(account, book)
                    held = book.position("BTCUSDT")
                    assert held is not None and held.quantity == D(-10) and held.liquidation_price is not None
                    await account.trade("sell", "1", name="smaller")

                    async def follows() -> bool:
                        view = book.position("BTCUSDT")
                        return view is not None and view.quantity == D(-9)

                    await until("it follows", follows)
                    await caught_up(account, book)
                    assert book.lag_ms < 10_000 and book.connected
                    assert (book.resumed, book.restarted) == (0, 0)
                if door == "page":
                    for wrong in (None, "open", "open-sesam"):
                        with pytest.raises(AuthenticationError):
                            async with attach(where, token=wrong):
                                raise AssertionError("it opened")
                ended = await program.stopped()
                assert "Traceback" not in ended.err


async def test_it_goes_on_when_the_hedger_is_started_again() -> None:
    with room() as folder:
        async with exchange(folder, "--tape", "calm") as venue:
            account = Account(folder, venue)
            async with account.run("--json", "--no-web") as program:
                await until("hedged", account.hedged)
                async with attach(account.place("sock")) as book:
                    await book.live(10)
                    await program.killed()

                    async def lost() -> bool:
                        return not book.connected

                    await until("the break is seen", lost)
                    async with account.run("--json", "--no-web"):
                        await until("hedged again", account.hedged)

                        async def back() -> bool:
                            return book.connected and book.restarted >= 1

                        await until("attached again", back)
                        await caught_up(account, book)
                        assert book.resumed >= 1


async def test_nobody_there_and_an_address_elsewhere_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NotRunning, match="nobody answers"):
        async with attach(tmp_path / "no.sock"):
            raise AssertionError("it opened")
    with pytest.raises(ConfigError, match="only loopback"):
        async with attach("http://192.0.2.1:8787"):
            raise AssertionError("it opened")
