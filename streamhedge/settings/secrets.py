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
        raise ConfigError(f"keys.{name}: say exactly one of env, file, credential, command; got {sorted(source)}")
    ((kind, where),) = source.items()
    readers = {"env": _from_env, "file": _from_file, "credential": _from_credential, "command": _from_command}
    if kind == "aws_sm":
        raise ConfigError(f"keys.{name}: AWS Secrets Manager is not built in yet; use file, credential or command")
    if kind not in readers:
        raise ConfigError(f"keys.{name}: unknown source {kind!r}; use one of {', '.join(readers)}")
    value = readers[kind](name, where, env).strip()
    if not value:
        raise ConfigError(f"keys.{name}: {kind} {where} is empty")
    return Secret(value)


def _from_env(name: str, where: str, env: Mapping[str, str]) -> str:
    if where not in env:
        raise ConfigError(f"keys.{name}: environment variable {where} is not set; export it, or name another source")
    return env[where]


def _from_file(name: str, where: str, env: Mapping[str, str]) -> str:
    path = Path(where).expanduser()
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    except OSError as error:
        raise ConfigError(f"keys.{name}: {path}: {error.strerror}") from error
    with os.fdopen(handle) as file:
        found = os.fstat(file.fileno())
        if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO) or found.st_uid not in (os.getuid(), 0):
            raise ConfigError(
                f"keys.{name}: {path} can be read by others (mode {found.st_mode & 0o777:o}): chmod 600 it"
            )
        return file.read()


def _from_credential(name: str, where: str, env: Mapping[str, str]) -> str:
    folder = env.get("CREDENTIALS_DIRECTORY")
    if folder is None:
        raise ConfigError(f"keys.{name}: no CREDENTIALS_DIRECTORY; start under systemd with LoadCredential={where}:…")
    try:
        return (Path(folder) / where).read_text()
    except OSError as error:
        raise ConfigError(f"keys.{name}: credential {where}: {error.strerror}") from error


def _from_command(name: str, where: str, env: Mapping[str, str]) -> str:
    try:
        done = subprocess.run(shlex.split(where), capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=True)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise ConfigError(f"keys.{name}: the command did not deliver: {type(error).__name__}") from error
    return done.stdout


def redact(text: str, secrets: tuple[Secret, ...]) -> str:
    """Return the text with every occurrence of a secret masked."""
    for secret in secrets:
        value = secret.reveal()
        if value:
            text = text.replace(value, "…")
    return text
