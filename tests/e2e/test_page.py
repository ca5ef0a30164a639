"""The local page in a real browser on a real hedger: what it shows, does and refuses, for eyes, keyboards and readers.

One hedger and one browser serve all of it. Every page is watched: a request to anywhere else, or a word in the console,
fails its test.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.support.processes import Account, Program, exchange, room, running, until

BROWSER = next((found for name in ("chromium", "chromium-browser") if (found := shutil.which(name))), None)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(BROWSER is None, reason="no chromium on this machine: the page is not opened"),
]
pytest.importorskip("plotly", reason="the charts' library is not installed: pip install 'streamhedge[report]'")
playwright = pytest.importorskip("playwright.async_api", reason="playwright is not installed")

TOKEN = "correct horse battery"
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)
WAIT_MS = 30_000
CHECKS = Path(__file__).with_name("page_checks.js").read_text("utf-8")


@dataclass(slots=True)
class Seen:
    """One opened page, and what it asked for and said beside what it shows."""

    page: Any
    address: str
    console: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)

    def quiet(self) -> None:
        """Assert that it asked nobody else and said nothing."""
        assert self.elsewhere == [] and self.console == []

    async def shows(self, selector: str, text: str | re.Pattern[str]) -> None:
        """Wait until an element shows a text."""
        await playwright.expect(self.page.locator(selector)).to_contain_text(text, timeout=WAIT_MS)

    async def live(self) -> None:
        """Wait until figures are there and charts are drawn."""
        await self.shows("#states", "LIVE")
        await self.page.wait_for_selector("#chart-funding .main-svg", timeout=WAIT_MS)

    async def picture(self, folder: Path, name: str) -> None:
        """Keep a picture for whoever wants to look."""
        await self.page.screenshot(path=folder / f"{name}.png", full_page=True)


@dataclass(slots=True)
class Stage:
    """A hedger, its page, and a browser."""

    account: Account
    program: Program
    address: str
    browser: Any

    @contextlib.asynccontextmanager
    async def opened(self, address: str | None = None, **options: Any) -> AsyncIterator[Seen]:
        """Open the page in a browser that knows nothing yet."""
        context = await self.browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        try:
            page = await context.new_page()
            seen = Seen(page, address or self.address)
            page.on("console", lambda said: seen.console.append(f"{said.type}: {said.text}"))
            page.on("pageerror", lambda error: seen.console.append(f"error: {error}"))
            page.on(
                "request",
                lambda asked: None if asked.url.startswith(seen.address) else seen.elsewhere.append(asked.url),
            )
            await page.goto(seen.address, wait_until="domcontentloaded")
            yield seen
        finally:
            await context.close()


async def page_of(program: Program) -> str:
    """Return the address that a hedger said it serves its page at."""

    async def said() -> str:
        assert program.running, program.err[-3000:]
        found = re.search(r'"code":"page".*?(http://127\.0\.0\.1:\d+)', program.err)
        return found[1] if found else ""

    return str(await until("the page's address", said))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage() -> AsyncIterator[Stage]:
    with room() as folder:
        more = '[web]\nlisten = "127.0.0.1:0"\ntoken = { env = "TOKEN" }\n'
        async with exchange(folder, "--tape", "calm") as venue, playwright.async_playwright() as driver:
            account = Account(folder, venue, more=more, env={"TOKEN": TOKEN})
            async with account.run("--json") as program:
                browser = await driver.chromium.launch(executable_path=BROWSER, args=list(FLAGS))
                await until("hedged", account.hedged)
                yield Stage(account, program, await page_of(program), browser)
                await browser.close()
                await program.stopped()


async def test_a_trade_shows_within_the_page_and_nobody_else_is_asked(stage: Stage, tmp_path: Path) -> None:
    async with stage.opened() as seen:
        await seen.live()
        rows = await seen.page.locator("#orders tr").count()
        await stage.account.trade("buy", "10000", name="shown")
        await seen.shows("#notes", "shown")
        await seen.shows("#hedges", re.compile(r"float\s*10\.1\d+ BTC"))
        assert await seen.page.locator("#orders tr").count() > rows
        await seen.shows("#venue", "event to sent p50")
        label = await seen.page.get_attribute("#chart-float .plot", "aria-label")
        assert re.search(r"float 1\d\.\d\d, short 1\d\.\d\d", label or ""), label
        await seen.picture(tmp_path, "light")
        seen.quiet()


async def test_a_page_that_asks_or_complains_is_found_out(stage: Stage) -> None:
    async with stage.opened() as seen:
        await seen.live()
        await seen.page.evaluate("document.body.append(Object.assign(new Image(), {src: 'http://127.0.0.1:9/pixel'}))")
        await seen.page.evaluate("console.debug('a word')")

        async def found_out() -> bool:
            return any("Content Security Policy" in said for said in seen.console)

        await until("the policy's refusal", found_out)
        assert "debug: a word" in seen.console
        with pytest.raises(AssertionError):
            seen.quiet()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_everybody_can_use_it(stage: Stage, tmp_path: Path, scheme: str) -> None:
    async with stage.opened(color_scheme=scheme) as seen:
        await seen.live()
        paper = await seen.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert paper == {"light": "rgb(255, 255, 255)", "dark": "rgb(13, 17, 23)"}[scheme]
        assert await seen.page.evaluate(CHECKS) == []
        # The window of an explanation, too.
        await seen.page.locator("#notes button").first.click()
        await playwright.expect(seen.page.locator("#explain pre")).to_contain_text("input", timeout=WAIT_MS)
        assert await seen.page.evaluate(CHECKS) == []
        await seen.picture(tmp_path, f"explain-{scheme}")
        seen.quiet()
        await seen.page.keyboard.press("Escape")
        await seen.picture(tmp_path, scheme)


async def test_the_checks_find_what_is_wrong(stage: Stage) -> None:
    async with stage.opened() as seen:
        await seen.live()
        await seen.page.evaluate(
            """() => {
              const bad = document.createElement("section");
              bad.innerHTML = '<h5>skipped</h5><button></button><input><div tabindex="3">far</div><div role="img"></div>';
              const faint = document.createElement("p");
              faint.textContent = "faint"; faint.style.color = "rgb(180, 180, 180)";
              bad.append(faint); document.getElementById("main").append(bad);
              document.body.append(document.createElement("main"));
            }"""
        )
        found = "\n".join(await seen.page.evaluate(CHECKS))
        for words in ("heading", "has no name", "positive tabindex", "contrast", "landmark", "has no label"):
            assert words in found, found


async def test_a_narrow_screen_scrolls_down_only(stage: Stage, tmp_path: Path) -> None:
    async with stage.opened(viewport={"width": 390, "height": 800}) as seen:
        await seen.live()
        for width in (390, 320):
            await seen.page.set_viewport_size({"width": width, "height": 800})
            await narrow(seen)
            await seen.picture(tmp_path, f"narrow-{width}")
        seen.quiet()


async def narrow(seen: Seen) -> None:
    wide = await seen.page.evaluate(
        """() => [...document.querySelectorAll("body, body *")].filter((one) => {
              const box = one.getBoundingClientRect();
              return box.width && box.right > innerWidth + 0.5 && !one.closest(".scroll, .plot, .skip");
            }).map((one) => `${one.localName}#${one.id}.${one.className}: ${one.textContent.slice(0, 40)}`)"""
    )
    assert wide == []
    assert await seen.page.evaluate("document.documentElement.scrollWidth <= innerWidth")

    async def drawn_anew() -> bool:
        inside = "[...document.querySelectorAll('.main-svg')].every((one) => one.getBoundingClientRect().right <= innerWidth)"
        return bool(await seen.page.evaluate(inside))

    await until("the charts fit", drawn_anew)


async def test_a_keyboard_is_enough(stage: Stage) -> None:
    focused = "(document.activeElement.id || document.activeElement.textContent.slice(0, 30))"
    async with stage.opened() as seen:
        await seen.live()
        press = seen.page.keyboard.press
        await press("Tab")
        assert await seen.page.evaluate(focused) == "Skip to the figures"
        assert await seen.page.locator(".skip").is_visible()
        await press("Enter")
        assert await seen.page.evaluate(focused) == "main"
        order = []
        for _ in range(3):
            await press("Tab")
            order.append(
                await seen.page.evaluate(
                    "document.activeElement.getAttribute('aria-label') || document.activeElement.id"
                )
            )
        assert order == ["Orders table", "loud", ""], "then the first line of the journal"
        line = await seen.page.evaluate(focused)
        await press("Enter")
        await playwright.expect(seen.page.locator("#explain")).to_be_visible()
        await seen.shows("#explain pre", "input")
        # What came in meanwhile takes nobody's place away.
        await stage.account.trade("sell", "0.01", name="meanwhile")
        await seen.shows("#notes", "meanwhile")
        await press("Escape")
        await playwright.expect(seen.page.locator("#explain")).to_be_hidden()
        assert await seen.page.evaluate(focused) == line
        seen.quiet()


async def test_halt_and_resume_with_the_token_only(stage: Stage, tmp_path: Path) -> None:
    async with stage.opened() as seen:
        await seen.live()
        page = seen.page
        assert not await page.locator("#read-only").is_visible()
        await page.fill("#token", "wrong horse, wrong")
        await page.fill("#reason", "drill")
        await page.press("#reason", "Enter")
        assert await page.locator("#act-said").inner_text() == "", "Enter acts on nothing"
        await page.click("text=Halt")
        await seen.shows("#act-said", "halt was refused: wrong or missing token")
        assert (await stage.account.status() or {})["trading_state"] == "ACTIVE"
        # The browser itself notes the refusal; nothing else may.
        assert len(seen.console) == 1 and "401" in seen.console.pop()
        await page.fill("#token", TOKEN)
        await page.click("text=Halt")
        await seen.shows("#act-said", "halt: done, trading is HALTED")
        await seen.shows("#states", "HALTED")
        await seen.shows("#states", re.compile(r"LIVE\s+page: drill$"))
        await seen.shows(
            "#trading", re.compile(r"^HALTED: .*the ladder is off\. BTCUSDT -1\S+ stays open, \d\S* % from")
        )
        await seen.shows("#alerts", re.compile(r"critical halted BTCUSDT: HALTED .*nobody has seen it"))
        assert (await stage.account.command("alerts", "ack")).code == 0
        await seen.shows("#alerts", re.compile(r"critical halted BTCUSDT: HALTED .*seen\)"))
        assert await page.title() == "HALTED · streamhedge"
        assert await page.evaluate(CHECKS) == []
        await seen.picture(tmp_path, "halted")
        await page.fill("#reason", "drill over")
        await page.click("button:text-is('Resume')")
        await seen.shows("#states", "ACTIVE")
        await playwright.expect(page.locator("#trading")).to_be_hidden(timeout=WAIT_MS)
        seen.quiet()
    listed = await stage.account.command("journal", "--format", "json")
    assert "page: drill" in listed.out


async def test_charts_and_journal_show_one_time_wherever_it_is_read(stage: Stage) -> None:
    async with stage.opened(timezone_id="Asia/Tokyo") as seen:
        await seen.live()
        last = "document.querySelector('#chart-naked .plot').data[0].x.at(-1)"
        shown = datetime.fromisoformat(await seen.page.evaluate(last)).replace(tzinfo=UTC)
        assert abs((datetime.now(UTC) - shown).total_seconds()) < 3_600
        seen.quiet()


@pytest.mark.fault("C4")
async def test_old_figures_are_called_old(stage: Stage, tmp_path: Path) -> None:
    async with stage.opened() as seen:
        await seen.live()
        bar = seen.page.locator("#stale")
        await playwright.expect(bar).to_be_hidden()
        stage.program.send(signal.SIGSTOP)
        try:
            await playwright.expect(bar).to_contain_text("what you see is old", timeout=WAIT_MS)
            assert await seen.page.title() == "no answer · streamhedge"
            assert await seen.page.evaluate(CHECKS) == []
            await seen.picture(tmp_path, "stale")
        finally:
            stage.program.send(signal.SIGCONT)
        await playwright.expect(bar).to_be_hidden(timeout=WAIT_MS)
        await seen.shows("#states", "LIVE")
        seen.quiet()


async def test_without_the_chart_library_it_says_so_and_goes_on(stage: Stage) -> None:
    context = await stage.browser.new_context()
    try:
        page = await context.new_page()
        await page.route("**/assets/plotly.js", lambda route: route.fulfill(status=404))
        await page.goto(stage.address, wait_until="domcontentloaded")
        expect = playwright.expect
        await expect(page.locator("#charts-empty")).to_contain_text("chart library is not installed", timeout=WAIT_MS)
        await expect(page.locator("#states")).to_contain_text("LIVE", timeout=WAIT_MS)
        await page.wait_for_timeout(2_500)
        await expect(page.locator("#charts-empty")).to_be_visible()
        assert await page.evaluate(CHECKS) == []
    finally:
        await context.close()


async def test_read_only_blocked_and_then_gone(stage: Stage, tmp_path: Path) -> None:
    """A hedger of its own: no token, a wallet too small for its float, and then it dies."""
    with room() as folder:
        base = stage.account.base
        words = ("run", "-c", str(base), "--state-dir", str(folder / "state"), "--port", "0", "--json")
        small = ("--tape", "calm", "--speed", "1", "--set", "sim.wallet=60_000 USDT")
        async with running(folder, *words, *small) as program, stage.opened(await page_of(program)) as seen:
            await seen.live()
            assert await seen.page.locator("#read-only").is_visible()
            assert not await seen.page.locator("#act").is_visible()
            await seen.shows("#blocked", re.compile(r"BTCUSDT: .* margin carries no more .* Remedy: post [\d,.]+ USDT"))
            assert await seen.page.evaluate(CHECKS) == []
            await seen.picture(tmp_path, "blocked")
            seen.quiet()
            await program.killed()
            await playwright.expect(seen.page.locator("#stale")).to_contain_text("may still hold", timeout=WAIT_MS)
            await seen.picture(tmp_path, "gone")
            # A browser notes each connection that it cannot make; the page adds nothing to that.
            assert [said for said in seen.console if "Failed to load resource" not in said and "ERR_" not in said] == []
    assert json.dumps(await stage.account.status()), "the other one is well"
