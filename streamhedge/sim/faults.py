"""The fault catalogue as knobs, named by row id. A knob is armed at start or at run time and is used up by its count.

Grammar: ``ID=value[@seconds][*count]``; without @ it is armed at once, without * it happens once (0 = for ever).

| id | values | what happens |
|---|---|---|
| S1 | market, private, ws_api | open sockets freeze: nothing is written and no ping is answered |
| S2 | market, private | the stream stays open and is mute (switch: *0) |
| S3 | market, private, ws_api | the socket is closed now |
| S7 | any | a malformed frame on the private stream |
| S8 | any | an unknown event type on the private stream |
| S9 | deep, huge | a frame nested two thousand deep, or of 300 kB, on the private stream |
| S10 | symbol | one symbol of the market streams is mute (switch: *0) |
| S12 | any | the next REST call meets a captive portal: 200 and HTML, and the venue never hears of it |
| U2 | event, silent | the listen key expires, with or without its event |
| U3 | any | somebody else deletes the listen key |
| U4 | any | the next listen-key call fails with 503 |
| U5 | any | ACCOUNT_UPDATE and ORDER_TRADE_UPDATE of a fill change places |
| U6 | any | every private event of the next fill arrives twice |
| U7 | any | the next positions answer comes from a replica that stands where the account stood when the knob was armed |
| U8 | any | the next private event is lost |
| U9 | any | no TRADE_LITE |
| U11 | empty, truncated | the next positions answer has no row, or lacks the last one |
| U14 | any | events nobody acts on: MARGIN_CALL without rows, ALGO_UPDATE, STRATEGY_UPDATE, GRID_UPDATE |
| O1 | executed, not_executed, late | 503 "Unknown error" and the order did / did not / will (after 1.5 s) execute |
| O3 | unavailable, throttled, internal, 429 | refused for certain; throttled spares reduce-only orders |
| O5 | garbage | the order executes, the reply is HTML |
| O6 | milliseconds | order.status does not find the next order for so long |
| O7 | percent | the next order fills only so much |
| O10 | 2022, 4118 | the next reduce-only or close-all conditional order is refused with that code |
| O14 | margin | the next raising order is refused with -2019 |
| O15 | executed, not_executed | the connection closes as the order is read; it did / did not execute |
| O18 | seconds | 503 "Unknown error"; the order executes so much later, far outside its window |
| A1 | signed quantity | somebody else trades the account |
| A5 | adl, liquidate, settle | the venue closes half of (adl) or the whole position |
| C1 | milliseconds | the venue's clock is off by so much |
| M1 | any | no mark prices (switch: *0) |
| M2 | x10, zero, negative, nan, basis | the next frame of marks is wrong by that; the contract itself is not |
| M3 | seconds | maintenance: sockets close, open orders are cancelled, every call is -1016 for so long |
| X1 | any, report | the exchange lies: it reports fills and does not move the position; report: its order event alone does |
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from streamhedge.errors import ConfigError

KNOWN = (
    *("S1", "S2", "S3", "S7", "S8", "S9", "S10", "S12", "U2", "U3", "U4", "U5", "U6", "U7", "U8", "U9", "U11", "U14"),
    *("O1", "O3", "O5", "O6", "O7", "O10", "O14", "O15", "O18", "A1", "A5", "C1", "M1", "M2", "M3", "X1"),
)
_WORDS = re.compile(r"^([A-Z]+[0-9]+)=([^@*]*)(?:@([0-9.]+))?(?:\*([0-9]+))?$")


@dataclass(slots=True)
class Fault:
    """One armed knob; ``left`` counts down, -1 means for ever."""

    name: str
    value: str
    at_ms: int
    left: int


@dataclass(slots=True)
class Faults:
    """All armed knobs of one exchange, and how often each one happened."""

    armed: list[Fault] = field(default_factory=list)
    happened: dict[str, int] = field(default_factory=dict)

    def arm(self, text: str, now_ms: int) -> None:
        """Arm knobs written as ``ID=value,ID=value``.

        Raises:
            ConfigError: names the word that is none.
        """
        for word in text.split(","):
            found = _WORDS.match(word.strip())
            if found is None or found.group(1) not in KNOWN:
                raise ConfigError(
                    f"fault {word!r}: expected ID=value[@seconds][*count] with an ID of {', '.join(KNOWN)}"
                )
            name, value, at, count = found.groups()
            whole, _, part = (at or "0").partition(".")
            delay_ms = int(whole or "0") * 1_000 + int((part + "000")[:3])
            times = int(count) if count is not None else 1
            self.armed.append(Fault(name, value, now_ms + delay_ms, times if times else -1))

    def disarm(self, name: str) -> None:
        """Take a knob back: the end of a switch."""
        self.armed = [fault for fault in self.armed if fault.name != name]

    def take(self, name: str, now_ms: int) -> str | None:
        """Return the value of a knob that is due and use it once; None when none is."""
        for fault in self.armed:
            if fault.name == name and fault.at_ms <= now_ms:
                if fault.left > 0:
                    fault.left -= 1
                if fault.left == 0:
                    self.armed.remove(fault)
                self.happened[name] = self.happened.get(name, 0) + 1
                return fault.value
        return None

    def peek(self, name: str, now_ms: int) -> str | None:
        """Return the value of a knob that is due, without using it."""
        return next((f.value for f in self.armed if f.name == name and f.at_ms <= now_ms), None)

    def switch(self, name: str, now_ms: int) -> str | None:
        """Return the value of a switch that is on; it counts as having happened once."""
        value = self.peek(name, now_ms)
        if value is not None:
            self.happened.setdefault(name, 1)
        return value
