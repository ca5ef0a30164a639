"""`top`: the status of a running hedger as a live screen in a process of its own; it reads and does nothing else.

It asks over the control socket twice a second, so a terminal that is slow or gone costs the hedger nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, ClassVar

from rich.console import RenderableType
from rich.panel import Panel
from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import Footer, Static

from streamhedge.errors import StreamhedgeError
from streamhedge.ops.lines import inert
from streamhedge.ops.screen import age, screen

EVERY_S = 0.5
Ask = Callable[[], dict[str, Any]]
LEVEL_STYLES = {"warning": "yellow", "critical": "bold red"}


class Top(App[None]):
    """The screen."""

    TITLE = "streamhedge"
    CSS = """
    #link { height: auto; padding: 0 1; }
    #link.lost { background: darkred; color: white; text-style: bold; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "Quit"),
        Binding("p", "hold", "Pause"),
        Binding("r", "look", "Look now"),
    ]

    def __init__(self, ask: Ask) -> None:
        """Name how the status is asked.

        Args:
            ask: Returns `status --json`; may raise our errors and may take its time: it runs in a thread.
        """
        super().__init__()
        self._ask = ask
        self._held = False
        self._seen_s = 0.0
        self._status: dict[str, Any] | None = None

    def compose(self) -> ComposeResult:
        """Lay the screen out."""
        yield Static("asking…", id="link")
        with VerticalScroll(can_focus=True):
            yield Static(id="alerts")
            yield Static(id="screen")
        yield Footer()

    def on_mount(self) -> None:
        """Begin to look."""
        self.set_interval(EVERY_S, self.action_look)
        self.action_look()

    def action_look(self) -> None:
        """Ask once, beside the screen."""
        if not self._held:
            self.run_worker(self._look, thread=True, exclusive=True, group="look")

    def action_hold(self) -> None:
        """Keep the screen as it is, or go on."""
        self._held = not self._held
        self._tell("paused: press p to go on" if self._held else "asking…", lost=False)

    def _look(self) -> None:
        try:
            status = self._ask()
        except StreamhedgeError as error:
            self.call_from_thread(self._lost, str(error))
            return
        self.call_from_thread(self._show, status)

    def _show(self, status: dict[str, Any]) -> None:
        if self._held:
            return
        self._seen_s, self._status = time.monotonic(), status
        self.query_one("#screen", Static).update(screen(status))
        self.query_one("#alerts", Static).update(_alerts(status))
        self._tell(f"{status['venue']}, pid {status['pid']}: looked just now", lost=False)

    def _lost(self, why: str) -> None:
        if self._held:
            return
        seen = (
            ""
            if self._status is None
            else f"; what you see is {age(int((time.monotonic() - self._seen_s) * 1_000))} old"
        )
        self._tell(f"{inert(why)}{seen}", lost=True)

    def _tell(self, text: str, *, lost: bool) -> None:
        line = self.query_one("#link", Static)
        line.update(Text(text))
        line.set_class(lost, "lost")


def _alerts(status: dict[str, Any]) -> RenderableType:
    rows = status.get("alerts", [])
    text = Text()
    for number, row in enumerate(rows):
        text.append("\n" if number else "")
        text.append(f"#{row['number']} {row['level']} ", style=LEVEL_STYLES.get(row["level"], ""))
        text.append(f"{row['code']} {row['symbol']} ×{row['times']}: {inert(row['text'])}")
    return Panel(text if rows else Text("nothing is wrong", style="dim"), title="alerts", title_align="left")
