"""The full figures of the suites of which the tests run a sample: `scripts/soak NAME`. Exit 1 when one shows a fault."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path


def names() -> list[str]:
    """Return the soaks there are: one file of this folder each."""
    return sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))


def main() -> int:
    """Run one soak: its module's ``add_arguments(parser)`` and ``main(said)``."""
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__)
    each = parser.add_subparsers(dest="name", required=True, metavar="NAME")
    for name in names():
        module = importlib.import_module(f"tests.soak.{name}")
        about = (module.__doc__ or "").strip()
        module.add_arguments(each.add_parser(name, help=about.splitlines()[0], description=about))
    said = parser.parse_args()
    return int(importlib.import_module(f"tests.soak.{said.name}").main(said))


if __name__ == "__main__":
    sys.exit(main())
