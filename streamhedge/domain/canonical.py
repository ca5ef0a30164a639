"""Canonical form of records: plain JSON values, the same bytes for the same state on every machine.

Decimals become text, enums their value, records objects with their fields in order of definition, tuples and lists
arrays, dicts objects (keys as text, sorted when digested). ``from_plain`` is the exact inverse, driven by type hints.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import types
import typing
from decimal import Decimal
from enum import Enum
from typing import Any, TypeVar

import orjson

from streamhedge.domain.values import finite_from

CONTAINERS: dict[Any, type] = {list: list, tuple: list, dict: dict}
SCALARS = (int, str, bool)
_T = TypeVar("_T")


def to_plain(value: object) -> Any:
    """Return the value as JSON-ready data; raises TypeError for anything that has no canonical form."""
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    if isinstance(value, dict):
        return {_key(key): to_plain(item) for key, item in value.items()}
    if dataclasses.is_dataclass(value):
        return {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    raise TypeError(f"no canonical form for {type(value).__name__}")


def from_plain(kind: Any, data: Any) -> Any:
    """Return the value of type ``kind`` that ``to_plain`` wrote as ``data``.

    Raises:
        ValueError, TypeError, KeyError: it did not write this.
    """
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        if data is None:
            return None
        (inner,) = [option for option in typing.get_args(kind) if option is not type(None)]
        return from_plain(inner, data)
    _expect(data, CONTAINERS.get(origin))
    if origin is tuple:
        parts = typing.get_args(kind)
        if len(parts) == 2 and parts[1] is Ellipsis:
            return tuple(from_plain(parts[0], item) for item in data)
        return tuple(from_plain(part, item) for part, item in zip(parts, data, strict=True))
    if origin is list:
        (part,) = typing.get_args(kind)
        return [from_plain(part, item) for item in data]
    if origin is dict:
        key_kind, item_kind = typing.get_args(kind)
        return {_from_key(key_kind, key): from_plain(item_kind, item) for key, item in data.items()}
    kind = getattr(kind, "__supertype__", kind)
    if kind is Decimal:
        return finite_from(data)
    if isinstance(kind, type) and issubclass(kind, Enum):
        _expect(data, str)  # a bottomless value has no text that a refusal could quote
        return kind(data)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        _expect(data, dict)
        hints = _hints(kind)
        return kind(**{name: from_plain(hints[name], item) for name, item in data.items()})
    if kind in SCALARS:
        _expect(data, kind)
    return data


def _expect(data: object, kind: Any) -> None:
    """Refuse another JSON type than the one that was written; True is no integer."""
    if kind is not None and type(data) is not kind:
        raise TypeError(f"expected {kind.__name__}, got {type(data).__name__}")


def digest(value: object) -> str:
    """Return the SHA-256 of the canonical form, 32 hex digits."""
    text = orjson.dumps(to_plain(value), option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(text).hexdigest()[:32]


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _key(key: object) -> str:
    if isinstance(key, tuple):
        return "|".join(_key(part) for part in key)
    if isinstance(key, Enum):
        return str(key.value)
    return str(key)


def _from_key(kind: Any, text: str) -> Any:
    if typing.get_origin(kind) is tuple:
        parts = text.split("|")
        return tuple(_from_key(part, item) for part, item in zip(typing.get_args(kind), parts, strict=True))
    kind = getattr(kind, "__supertype__", kind)
    if kind is int:
        return int(text)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(text)
    return text
