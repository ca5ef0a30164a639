"""The table of planted bugs: name, what is broken, which invariants may catch it, and what must happen for it to show.

One file for each place of the product that is broken; what stands in this folder is in the table.
"""

from __future__ import annotations

import importlib
from pathlib import Path

from tests.simulation.planting import PLANTS

__all__ = ["PLANTS"]

for _path in sorted(Path(__file__).parent.glob("[a-z]*.py")):
    importlib.import_module(f"{__name__}.{_path.stem}")
