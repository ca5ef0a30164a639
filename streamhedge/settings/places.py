"""Where a value of the configuration was said, and what is wrong with it, as one line a person can act on.

Keys are named as ``--set`` names them: limits.max_naked, hedge.BTC.band, alert.0.min.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from streamhedge.domain.values import record
from streamhedge.settings.model import Settings

_TABLE = re.compile(r"\s*(\[\[?)\s*([^\]]+?)\s*\]")
_KEY = re.compile(r"""\s*["']?([A-Za-z0-9_.-]+)["']?\s*=\s*(.*)""")
HIDDEN = ("keys", "alert")
"""Tables whose values no message repeats: somebody may have pasted a secret where its source belongs."""


@record
class Source:
    """One file of the configuration."""

    name: str
    text: str

    def lines(self) -> dict[str, int]:
        """Return the line of every table and key, by name."""
        found: dict[str, int] = {}
        rows: dict[str, int] = {}
        prefix, block = "", 0
        for number, line in enumerate(self.text.splitlines(), 1):
            if table := _TABLE.match(line):
                prefix = table.group(2) + "."
                if table.group(1) == "[[":
                    rows[table.group(2)] = rows.get(table.group(2), -1) + 1
                    prefix = f"{prefix}{rows[table.group(2)]}."
                    block = number
                found.setdefault(prefix[:-1], number)
            elif key := _KEY.match(line):
                name, value = key.groups()
                found.setdefault(prefix + name, number)
                if prefix.startswith("hedge.") and name == "asset":
                    asset = re.match(r"""["']([^"']*)""", value)
                    prefix, old = f"hedge.{asset.group(1)}." if asset else prefix, prefix
                    for said in [said for said in found if said.startswith(old)]:
                        found[prefix + said[len(old) :]] = found[said]
                    found.setdefault(prefix[:-1], block)
        return found


@record
class Places:
    """Where every value came from."""

    sources: Sequence[Source]
    origins: Mapping[str, str]
    merged: Mapping[str, Any]

    def of(self, key: str) -> str:
        """Return where a key was said: `file:line`, a variable or --set; the nearest table above it where it was not."""
        spoken = self._spoken(key) or self._written(key) or self._spoken(f"{key}.", within=True)
        while not spoken and key:
            key = key.rpartition(".")[0]
            spoken = self._written(key)
        return spoken or self.sources[-1].name

    def _spoken(self, key: str, *, within: bool = False) -> str:
        """Return the variable or --set that says a key, or something within a table."""
        for word, origin in self.origins.items():
            if word == key or (within and word.startswith(key)):
                if origin == "--set":
                    return f"--set {word}"
                if origin.startswith("environment"):
                    return origin
        return ""

    def _written(self, key: str) -> str:
        for source in reversed(self.sources):
            line = source.lines().get(key)
            if line is not None:
                return f"{source.name}:{line}"
        return ""

    def name(self, location: Sequence[Any]) -> str:
        """Return the name of a location in the merged tables: ("hedge", 0, "band") is hedge.BTC.band."""
        parts: list[str] = []
        table: Any = self.merged
        for part in location:
            try:
                table = table[part]
            except (KeyError, IndexError, TypeError):
                table = None
            named = isinstance(part, int) and parts == ["hedge"] and isinstance(table, dict) and "asset" in table
            parts.append(str(table["asset"] if named else part))
        return ".".join(parts)


def explained(error: ValidationError, places: Places) -> list[str]:
    """Return one line per fault: where, key, reason, what to do."""
    return [_line(fault, places) for fault in error.errors()]


def _line(fault: Any, places: Places) -> str:
    location = fault["loc"]
    key, last = places.name(location), str(location[-1])
    where = places.of(key)
    if fault["type"] == "missing":
        return f"{where}: {key} is missing: it has no default, say it"
    if fault["type"] == "extra_forbidden":
        known = _known(location)
        guess = difflib.get_close_matches(last, known, n=1)
        hint = f"did you mean {guess[0]}?" if guess else f"known here: {', '.join(known)}"
        return f"{where}: unknown key {key}; {hint}"
    reason = str(fault["msg"]).removeprefix("Value error, ")
    if fault["type"] == "literal_error":
        guess = difflib.get_close_matches(str(fault["input"]), re.findall(r"'([^']*)'", fault["ctx"]["expected"]), n=1)
        reason += f"; did you mean {guess[0]}?" if guess else ""
    if location[0] in HIDDEN or isinstance(fault["input"], dict | list | BaseModel) or "got" in reason:
        return f"{where}: {key}: {reason}"
    return f"{where}: {key}: {reason} (got {str(fault['input'])!r})"


def _known(location: Sequence[Any]) -> list[str]:
    model: Any = Settings
    for part in location[:-1]:
        if isinstance(part, str):
            model = _model_of(model.model_fields[part].annotation)
    return list(model.model_fields)


def _model_of(annotation: Any) -> Any:
    for inner in (annotation, *getattr(annotation, "__args__", ())):
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            return inner
    return Settings
