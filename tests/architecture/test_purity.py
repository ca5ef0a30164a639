"""The pure rooms stay replayable: no clock, no chance, no set order, no addresses, no floats, no files.

The import contract judges module imports; this judges the source, room by room, and proves each of its bans on a
planted line.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.shared import REPOSITORY

PURE_ROOMS = ("domain", "rules", "reactor", "wire", "runtime", "sim")

FORBIDDEN_IMPORTS = frozenset(
    {
        *(
            "aiohttp",
            "asyncio",
            "importlib",
            "logging",
            "multiprocessing",
            "os",
            "pathlib",
            "random",
            "secrets",
            "select",
        ),
        *(
            "shutil",
            "signal",
            "socket",
            "sqlite3",
            "ssl",
            "subprocess",
            "tempfile",
            "threading",
            "time",
            "urllib.request",
        ),
        *("uuid", "uvloop", "websockets"),
    }
)
CLOCK_METHODS = frozenset({"now", "utcnow", "today"})
SET_BUILDERS = frozenset({"set", "frozenset"})
SET_METHODS = frozenset({"union", "intersection", "difference", "symmetric_difference"})
SET_OPERATORS = (ast.BitOr, ast.BitAnd, ast.BitXor, ast.Sub)
# They hand the set's order on; sorted, len, sum, min, max, any and all do not.
ORDER_KEEPERS = frozenset(
    {"list", "tuple", "iter", "enumerate", "zip", "map", "filter", "reversed", "dict", "deque", "chain"}
)
BANNED_CALLS = {
    "hash": "hash() differs between runs",
    "id": "id() is an address",
    "float": "float() makes an inexact number",
    "open": "open() touches the disk",
    "__import__": "__import__() hides an import",
    "input": "input() waits for a person",
}
SET_TYPES = frozenset({"set", "frozenset", "Set", "FrozenSet", "AbstractSet", "MutableSet"})


def offences(source: str, *, room: str) -> list[str]:
    """Return ``line: reason`` for each breach of purity in a module's source, in line order."""
    tree = ast.parse(source)
    sets = names_of_sets(tree)
    clocks = names_from_datetime(tree)
    found = [
        (getattr(node, "lineno", 0), reason)
        for node in ast.walk(tree)
        for reason in [
            *import_offences(node, room=room),
            *call_offences(node, clocks=clocks),
            *random_offences(node),
            *float_offences(node),
            *set_offences(node, sets=sets),
        ]
    ]
    return [f"{line}: {reason}" for line, reason in sorted(found)]


def import_offences(node: ast.AST, *, room: str) -> Iterator[str]:
    if isinstance(node, ast.Import):
        modules = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
        modules = [node.module]
        if node.module == "urllib":
            modules = [f"urllib.{alias.name}" for alias in node.names]
    else:
        return
    for module in modules:
        forbidden = module in FORBIDDEN_IMPORTS or module.split(".")[0] in FORBIDDEN_IMPORTS
        if forbidden and not (room == "sim" and module == "random"):
            yield f"import of {module}"


def call_offences(node: ast.AST, *, clocks: frozenset[str]) -> Iterator[str]:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in BANNED_CALLS:
        yield BANNED_CALLS[node.func.id]
    if isinstance(node, ast.Attribute) and node.attr in CLOCK_METHODS and root_name(node) in clocks:
        yield f"{ast.unparse(node)} reads the clock"


def random_offences(node: ast.AST) -> Iterator[str]:
    """Allow nothing of the module but a generator with a seed: ``random.Random(seed)``."""
    if isinstance(node, ast.Attribute) and is_name(node.value, "random") and node.attr != "Random":
        yield f"random.{node.attr} is not seeded"
    if isinstance(node, ast.ImportFrom) and node.module == "random":
        for alias in node.names:
            if alias.name != "Random":
                yield f"random.{alias.name} is not seeded"
    if isinstance(node, ast.Call) and not node.args and not node.keywords:
        function = node.func
        if is_name(function, "Random") or (isinstance(function, ast.Attribute) and function.attr == "Random"):
            yield "Random() without a seed"


def float_offences(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, float | complex):
        yield f"float literal {node.value!r}"
    if isinstance(node, ast.Call) and any(is_name(argument, "float") for argument in node.args):
        asks_only = isinstance(node.func, ast.Name) and node.func.id in {"isinstance", "issubclass"}
        if not asks_only:
            yield "float handed on as a converter"


def set_offences(node: ast.AST, *, sets: frozenset[str]) -> Iterator[str]:
    for iterated in iterated_by(node):
        if is_set(iterated, sets=sets):
            yield f"order of the set {ast.unparse(iterated)} differs between runs"


def iterated_by(node: ast.AST) -> Iterator[ast.expr]:
    """Yield the expressions whose order ``node`` passes on."""
    match node:
        case ast.For() | ast.AsyncFor() | ast.comprehension():
            yield node.iter
        case ast.Starred(value=value) | ast.YieldFrom(value=value):
            yield value
        case ast.Assign(targets=targets, value=value):
            if any(isinstance(target, ast.Tuple | ast.List) for target in targets):
                yield value
        case ast.Call(func=function, args=arguments):
            name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
            if name in ORDER_KEEPERS or name in {"join", "extend", "fromkeys"}:
                yield from arguments
            if isinstance(function, ast.Attribute) and name == "pop" and not arguments:
                yield function.value


def is_set(node: ast.expr, *, sets: frozenset[str]) -> bool:
    """Tell whether an expression is surely a set, as far as one module's source shows."""
    if isinstance(node, ast.Set | ast.SetComp):
        return True
    if isinstance(node, ast.Call):
        function = node.func
        if isinstance(function, ast.Name):
            return function.id in SET_BUILDERS
        return isinstance(function, ast.Attribute) and function.attr in SET_METHODS
    if isinstance(node, ast.BinOp) and isinstance(node.op, SET_OPERATORS):
        return any(is_set(side, sets=sets) or is_keys(side) for side in (node.left, node.right))
    if isinstance(node, ast.IfExp):
        return is_set(node.body, sets=sets) or is_set(node.orelse, sets=sets)
    return target_name(node) in sets


def is_keys(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in {"keys", "items"}


def names_of_sets(tree: ast.AST) -> frozenset[str]:
    """Return names and attributes that this module makes or declares sets, and never anything else."""
    as_set: set[str] = set()
    otherwise: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign):
            name = target_name(node.target)
            (as_set if is_set_type(node.annotation) else otherwise).update({name, f"self.{name}"})  # a field, perhaps
        elif isinstance(node, ast.arg) and node.annotation is not None:
            (as_set if is_set_type(node.annotation) else otherwise).add(node.arg)
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                (as_set if is_set(node.value, sets=frozenset()) else otherwise).add(target_name(target))
    return frozenset(as_set - otherwise - {""})


def is_set_type(annotation: ast.expr) -> bool:
    outer = annotation.value if isinstance(annotation, ast.Subscript) else annotation
    return target_name(outer).split(".")[-1] in SET_TYPES


def names_from_datetime(tree: ast.AST) -> frozenset[str]:
    names = {"datetime"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.asname or alias.name for alias in node.names if alias.name == "datetime")
        elif isinstance(node, ast.ImportFrom) and node.module == "datetime":
            names.update(alias.asname or alias.name for alias in node.names)
    return frozenset(names)


def is_name(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def root_name(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def target_name(node: ast.expr) -> str:
    """Return ``name`` or ``owner.name``, or nothing for what has no plain name."""
    return ast.unparse(node) if isinstance(node, ast.Name | ast.Attribute) else ""


def modules_of(room: str) -> list[Path]:
    return sorted((REPOSITORY / "streamhedge" / room).rglob("*.py"))


@pytest.mark.parametrize("room", PURE_ROOMS)
def test_room_is_pure(room: str) -> None:
    modules = modules_of(room)
    if not modules:
        pytest.skip(f"streamhedge/{room} is not built yet")
    found = [
        f"{module.relative_to(REPOSITORY)}:{offence}"
        for module in modules
        for offence in offences(module.read_text(encoding="utf-8"), room=room)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("planted", "reason"),
    [
        ("import time\ntime.monotonic()", "import of time"),
        ("from time import time_ns", "import of time"),
        ("import os.path as p", "import of os.path"),
        ("import asyncio", "import of asyncio"),
        ("from urllib import request", "import of urllib.request"),
        ("from importlib import import_module", "import of importlib"),
        ("import random", "import of random"),
        ("from datetime import datetime\nat = datetime.now()", "reads the clock"),
        ("import datetime as d\nat = d.datetime.utcnow()", "reads the clock"),
        ("from datetime import date as day\nclock = day.today", "reads the clock"),
        ("for x in {1, 2}: pass", "order of the set"),
        ("for x in set(names): pass", "order of the set"),
        ("y = [x for x in frozenset(names)]", "order of the set"),
        ("y = list({x for x in names})", "order of the set"),
        ("y = ','.join({'a', 'b'})", "order of the set"),
        ("y = [*{1, 2}]", "order of the set"),
        ("seen = set()\nfor x in seen: pass", "order of the set"),
        (
            "class A:\n seen: set[str]\n def f(self):\n  self.seen = set()\n  return tuple(self.seen)",
            "order of the set",
        ),
        ("class A:\n seen: set[str]\n def f(self):\n  return [*self.seen]", "order of the set"),
        ("def f(seen: frozenset[str]):\n yield from seen", "order of the set"),
        ("for x in a.keys() - b.keys(): pass", "order of the set"),
        ("for x in a.union(b): pass", "order of the set"),
        ("first = {1, 2}.pop()", "order of the set"),
        ("y = hash(x)", "hash() differs"),
        ("y = id(x)", "id() is an address"),
        ("y = 0.5", "float literal"),
        ("y = 1e3", "float literal"),
        ("y = -0.5", "float literal"),
        ("y = float(x)", "float() makes"),
        ("y = map(float, xs)", "float handed on"),
        ("y = open('f')", "touches the disk"),
    ],
)
def test_a_planted_breach_is_found(planted: str, reason: str) -> None:
    found = offences(planted, room="rules")
    assert any(reason in offence for offence in found), found


@pytest.mark.parametrize(
    "allowed",
    [
        "for x in sorted({1, 2}): pass",
        "y = len({1, 2}) + max({1, 2})",
        "y = x in {1, 2}",
        "seen = set()\nseen.add(1)\ny = 1 in seen",
        "for x in {'a': 1}: pass",
        "for x in (a - b, c): pass",
        "from datetime import timedelta\ny = timedelta(days=1)",
        "y = view.now",
        "y = isinstance(x, float)",
        "y = Decimal('0.5') * 2",
        "y = order.id + position.hash",
        "items = [1]\ny = items.pop()",
    ],
)
def test_ordinary_code_is_left_alone(allowed: str) -> None:
    assert offences(allowed, room="rules") == []


@pytest.mark.parametrize(
    "planted", ["random.random()", "random.seed(1)", "from random import choice", "random.Random()"]
)
def test_the_exchange_may_not_use_chance_without_a_seed(planted: str) -> None:
    assert any("seed" in offence for offence in offences(f"import random\n{planted}", room="sim"))


def test_the_exchange_may_hold_a_seeded_generator() -> None:
    assert offences("import random\ngenerator = random.Random(seed)\ny = generator.randint(1, 6)", room="sim") == []
