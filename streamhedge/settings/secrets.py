"""Where keys come from, and the type that hides them. A secret is never printed, pickled, logged or put in argv."""

from __future__ import annotations

import hashlib
import os
import shlex
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from streamhedge.errors import ConfigError

COMMAND_TIMEOUT_S = 10
LONGEST = 16_384
SOURCES = ("env", "file", "credential", "command", "aws_sm")


class Secret:
    """A value that only ``reveal`` shows."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the value, for the one place that needs it."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled")


def fingerprint(api_key: Secret) -> str:
    """Return 12 hex digits that name an API key without showing it."""
    return hashlib.sha256(api_key.reveal().encode()).hexdigest()[:12]


def load_secret(name: str, source: Mapping[str, str], env: Mapping[str, str]) -> Secret:
    """Read a secret from the one place its source names.

    Args:
        name: What it is, for messages.
        source: One of {"env": NAME}, {"file": PATH}, {"credential": NAME}, {"command": WORDS}.
        env: The environment.

    Raises:
        ConfigError: there is none, or others could read it.
    """
    if len(source) != 1:
        raise ConfigError(f"{name}: say exactly one of {', '.join(SOURCES)}; got {sorted(source)}")
    ((kind, where),) = source.items()
    if kind == "aws_sm":
        raise ConfigError(f"{name}: AWS Secrets Manager is not built in yet; use file, credential or command")
    readers = {"env": _from_env, "file": _from_file, "credential": _from_credential, "command": _from_command}
    if kind not in readers:
        raise ConfigError(f"{name}: unknown source {kind!r}; use one of {', '.join(SOURCES)}")
    # No error is chained here: what a reader choked on may be the secret itself.
    try:
        value = readers[kind](where, env).strip()
    except _NotThereError as error:
        raise ConfigError(f"{name}: {error}") from None
    if not value:
        shown = kind if kind == "command" else f"{kind} {where}"
        raise ConfigError(f"{name}: {shown} is empty")
    return Secret(value)


class _NotThereError(Exception):
    """A source did not deliver; says why and what to do, never what it held."""


def _from_env(where: str, env: Mapping[str, str]) -> str:
    if where not in env:
        raise _NotThereError(f"environment variable {where} is not set; export it, or name another source")
    return env[where]


def _from_file(where: str, env: Mapping[str, str]) -> str:
    path = Path(where).expanduser()
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        raise _NotThereError(f"{path}: {error.strerror}") from None
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise _NotThereError(f"{path} is no file")
        if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO) or found.st_uid not in (os.getuid(), 0):
            raise _NotThereError(
                f"{path} can be read by others (owner {found.st_uid}, mode {found.st_mode & 0o777:o}): chmod 600 it"
            )
        return _text(os.read(handle, LONGEST + 1), str(path))
    except OSError as error:
        raise _NotThereError(f"{path}: {error.strerror}") from None
    finally:
        os.close(handle)


def _from_credential(where: str, env: Mapping[str, str]) -> str:
    folder = env.get("CREDENTIALS_DIRECTORY")
    if folder is None:
        raise _NotThereError(f"no CREDENTIALS_DIRECTORY; start under systemd with LoadCredential={where}:…")
    if "/" in where:
        raise _NotThereError(f"credential {where}: a name has no slash")
    try:
        with (Path(folder) / where).open("rb") as file:
            return _text(file.read(LONGEST + 1), f"credential {where}")
    except OSError as error:
        raise _NotThereError(f"credential {where}: {error.strerror}") from None


def _from_command(where: str, env: Mapping[str, str]) -> str:
    try:
        words = shlex.split(where)
    except ValueError as error:
        raise _NotThereError(f"the command is not well quoted: {error}") from None
    if not words:
        raise _NotThereError("the command is empty")
    try:
        done = subprocess.run(words, capture_output=True, timeout=COMMAND_TIMEOUT_S, check=False)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise _NotThereError(f"the command {words[0]} did not deliver: {type(error).__name__}") from None
    if done.returncode != 0:
        raise _NotThereError(f"the command {words[0]} did not deliver: exit status {done.returncode}")
    return _text(done.stdout[: LONGEST + 1], f"the command {words[0]}")


def _text(raw: bytes, what: str) -> str:
    if len(raw) > LONGEST:
        raise _NotThereError(f"{what} holds more than {LONGEST} bytes: that is no key")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise _NotThereError(f"{what} is no text: that is no key") from None


def redact(text: str, secrets: tuple[Secret, ...]) -> str:
    """Return the text with every occurrence of a secret masked."""
    for secret in secrets:
        value = secret.reveal()
        if value:
            text = text.replace(value, "…")
    return text
