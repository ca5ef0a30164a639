"""`doctor`: is this machine, this configuration, this account fit to hedge? Every check has its repair line. Reads only.

Offline: program, files, disk, lock, books, configuration, keys. Online: clock, keys, modes, contract, leverage and margin
against the ladder, margin budget, and whether each route delivers within five seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from streamhedge.errors import ConfigError
from streamhedge.ops.doctor.account import account, channels, read_keys
from streamhedge.ops.doctor.finding import FAIL, OK, Check, check
from streamhedge.ops.doctor.host import configuration_files, machine, program, user
from streamhedge.ops.doctor.spot import read_spot_keys
from streamhedge.ops.doctor.venue import Say, asked
from streamhedge.settings.config import load_config


async def examine(
    configs: Sequence[Path], sets: Sequence[str], state_dir: Path, env: Mapping[str, str], *, online: bool, say: Say
) -> list[Check]:
    """Return every check in a fixed order; none stops the others but a configuration that does not fit."""
    found = [*program(), *configuration_files(configs)]
    try:
        config = load_config(configs, sets, env)
    except ConfigError as error:
        found.append(check("configuration", FAIL, str(error), "correct it, then `streamhedge config check`"))
        return found
    found.append(check("configuration", OK, f"{len(configs) or 'packaged'} file(s), hash {config.hash()}"))
    keys, key_checks = read_keys(config, env)
    spot_keys, spot_checks = read_spot_keys(config, env)
    found += [*key_checks, *spot_checks]
    found += machine(state_dir)
    found.append(user(config))
    found += channels(config, env)
    found += account(config, keys, state_dir)
    if online:
        found += await asked(config, keys, spot_keys, say)
    return found


__all__ = ["Check", "examine"]
