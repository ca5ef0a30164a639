"""One request and one answer, as every door of the exchange hands them on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from streamhedge.sim.refusals import whole

if TYPE_CHECKING:
    from streamhedge.sim.exchange import Exchange

NONE, KEY, SIGNED = "none", "key", "signed"


@dataclass(slots=True)
class Reply:
    """One HTTP answer; ``cut`` closes the connection instead of answering."""

    status: int
    headers: dict[str, str]
    body: str
    cut: bool = False


@dataclass(slots=True)
class Call:
    """One accepted request: its parameters, and when it came."""

    params: dict[str, str]
    now_ms: int
    path: str

    def integer(self, name: str, usual: int) -> int:
        """Return a whole-number parameter, or what is usual where it is not sent."""
        said = self.params.get(name, "")
        return whole(said, -1130, name) if said else usual


Handler = Callable[["Exchange", Call], Any]


@dataclass(slots=True)
class Endpoint:
    """One line of a table; ``weight_one`` where naming a symbol is cheaper."""

    handler: Handler
    security: str
    weight: int
    orders: int = 0
    weight_one: int | None = None

    def cost(self, params: dict[str, str]) -> int:
        """Return the request weight of a call."""
        return self.weight_one if self.weight_one is not None and params.get("symbol") else self.weight
