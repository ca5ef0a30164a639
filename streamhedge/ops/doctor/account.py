"""What the doctor finds about the account without asking anybody: keys, channels, lock, books."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from streamhedge.errors import ConfigError, StreamhedgeError
from streamhedge.ops.alerts import channels_of
from streamhedge.ops.doctor.finding import FAIL, OK, WARN, Check, check
from streamhedge.ops.heartbeat import address_of
from streamhedge.ops.instances import instances
from streamhedge.ops.web.guard import Guard
from streamhedge.settings.config import Config
from streamhedge.settings.secrets import Secret, fingerprint, load_secret
from streamhedge.store.ledger import Ledger
from streamhedge.wire.signing import HmacSigner, signer_of

CHECKLIST = "not readable here; see at the venue: futures on, withdrawals and transfers off, an IP list (else it lapses after 30 days)"

RESTORE = "put back what `streamhedge ledger backup` wrote; without a backup `streamhedge run --accept-venue-truth`"


def read_keys(config: Config, env: Mapping[str, str]) -> tuple[tuple[Secret, Secret] | None, list[Check]]:
    """Check that the keys can be read; the values are never shown."""
    settings = config.settings
    if settings.keys is None:
        if settings.venue == "sim" and settings.endpoints is None:
            return None, [check("keys", OK, "none needed: the built-in exchange makes its own")]
        return None, [
            check("keys", FAIL, f"venue {settings.venue} without [keys]", "add [keys] with api_key and api_secret")
        ]
    try:
        keys = (
            load_secret("api_key", settings.keys.api_key, env),
            load_secret("api_secret", settings.keys.api_secret, env),
        )
        signer = signer_of(keys[1].reveal())
    except ConfigError as error:
        return None, [check("keys", FAIL, str(error), "put them where the configuration says, or say another place")]
    name = fingerprint(keys[0])
    found = [check("keys", OK, f"readable, account fingerprint {name}", fingerprint=name)]
    if settings.keys.account is not None and settings.keys.account != name:
        repair = f'use the keys of that account, or say keys.account = "{name}"'
        found.append(
            check("account", FAIL, f"the keys are {name}, the configuration says {settings.keys.account}", repair)
        )
    if settings.venue != "sim":
        found.append(check("permissions", OK, CHECKLIST))
    if settings.venue == "live" and isinstance(signer, HmacSigner):
        found.append(check("key type", WARN, "HMAC: the secret is shared with the venue", "make an Ed25519 key"))
    if settings.venue == "live" and "env" in (*settings.keys.api_key, *settings.keys.api_secret):
        found.append(
            check("key source", WARN, "environment variables are inherited", "use a 0600 file or a credential")
        )
    return keys, found


def account(config: Config, keys: tuple[Secret, Secret] | None, state_dir: Path) -> list[Check]:
    """Check who holds the account here, and its books."""
    if keys is None or (config.settings.venue == "sim" and config.settings.endpoints is None):
        return []
    name = f"{config.settings.venue}-{fingerprint(keys[0])}"
    held = next((instance for instance in instances() if instance.name == name), None)
    found = [
        check(
            "lock",
            OK,
            f"held by pid {held.pid}, state {held.folder}: it runs" if held and held.held else "free",
            pid=held.pid if held and held.held else None,
        )
    ]
    path = state_dir / name / "ledger.sqlite"
    if not path.exists():
        return [*found, check("ledger", OK, f"{path} is made at the first start")]
    try:
        ledger = Ledger(path, read_only=True)
    except StreamhedgeError as error:
        return [*found, check("ledger", FAIL, str(error), RESTORE)]
    try:
        problems = ledger.verify()
        latch = ledger.states().get("halted", {}).get("reason")
    finally:
        ledger.close()
    found.append(check("ledger", FAIL if problems else OK, "; ".join(problems) or str(path), RESTORE))
    if latch:
        repair = "when the cause is understood: `streamhedge resume --reason …` to the running process"
        found.append(check("halted", WARN, f"HALTED is latched: {latch}", repair))
    return found


def channels(config: Config, env: Mapping[str, str]) -> list[Check]:
    """Check that alerts have somewhere to go and that the page's token can be read; nobody is told anything."""
    settings, found = config.settings, []
    try:
        ready = len(channels_of(config, env))
        if ready:
            found.append(
                check("alerts", OK, f"{ready} channel(s); `streamhedge alerts test` sends one message through each")
            )
        elif settings.venue != "sim":
            found.append(
                check("alerts", WARN, "no [[alert]]: nobody is told", "add one: any address that apprise knows")
            )
    except ConfigError as error:
        found.append(check("alerts", FAIL, str(error), "correct [[alert]]"))
    found += _heartbeat(config, env)
    if settings.web is not None and settings.web.token is not None:
        try:
            Guard(0, load_secret("web.token", settings.web.token, env).reveal())
            found.append(check("page", OK, f"{settings.web.listen}, acts with its token"))
        except ConfigError as error:
            found.append(
                check("page", FAIL, str(error), "correct [web] token, or leave it out: the page is read-only then")
            )
    return found


def _heartbeat(config: Config, env: Mapping[str, str]) -> list[Check]:
    """Check that beats have somewhere to go; none is sent, or a switch would believe that a hedger lives."""
    settings = config.settings
    try:
        if address_of(config, env) is not None:
            every_s = settings.heartbeat.every // 1_000 if settings.heartbeat is not None else 0
            text = f"every {every_s} s while the hedge can be trusted; `streamhedge alerts test` sends one"
            return [check("heartbeat", OK, text)]
    except ConfigError as error:
        return [
            check("heartbeat", FAIL, str(error), "correct [heartbeat] url, e.g. the address the switch's page shows")
        ]
    if settings.venue == "sim":
        return []
    repair = "add [heartbeat] url: the address of a dead man's switch that calls when nothing comes"
    return [check("heartbeat", WARN, "no [heartbeat]: nobody hears that this machine is gone", repair)]
