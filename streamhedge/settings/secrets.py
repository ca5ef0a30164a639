"""Where keys come from, and the type that hides them. A secret is never printed, pickled, logged or put in argv."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from streamhedge.errors import ConfigError

COMMAND_TIMEOUT_S = 10
LONGEST = 16_384
AWS_TIMEOUT_S = 5
AWS_HINTS = {
    "ResourceNotFoundException": "check name, region and account",
    "AccessDeniedException": "allow secretsmanager:GetSecretValue on it to this role",
    "DecryptionFailure": "allow kms:Decrypt with its key to this role",
    "ExpiredTokenException": "the credentials of this host have expired",
    "UnrecognizedClientException": "the credentials of this host are not valid",
}
SHORTEST = 8
SIGNATURE = re.compile(rb"(signature\\*[\"']?\s*[=:]\s*\\*[\"']?)[A-Za-z0-9+/%=]{40,}")
SIGNATURE_SHOWN = rb"\1" + "…".encode()
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
        source: One of {"env": NAME}, {"file": PATH}, {"credential": NAME}, {"command": WORDS},
            {"aws_sm": ARN or NAME, with #FIELD where the secret is a JSON object}.
        env: The environment.

    Raises:
        ConfigError: there is none, or others could read it.
    """
    if len(source) != 1:
        raise ConfigError(f"{name}: say exactly one of {', '.join(SOURCES)}; got {sorted(source)}")
    ((kind, where),) = source.items()
    readers = {
        **{"env": _from_env, "file": _from_file, "credential": _from_credential, "command": _from_command},
        "aws_sm": _from_aws,
    }
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


def _from_aws(where: str, env: Mapping[str, str]) -> str:
    """Read a secret of AWS Secrets Manager: kept in memory alone. Who may is the role's business, not a key's here."""
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError
    except ModuleNotFoundError:
        raise _NotThereError("aws_sm needs a library: pip install 'streamhedge[aws]'") from None
    name, _, field = where.partition("#")
    region = name.split(":")[3] if name.startswith("arn:") and name.count(":") >= 6 else None
    region = region or env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION")
    if not region:
        raise _NotThereError(f"{name}: no region; name the secret by its ARN, or set AWS_REGION")
    limits = Config(connect_timeout=AWS_TIMEOUT_S, read_timeout=AWS_TIMEOUT_S, retries={"total_max_attempts": 2})
    try:
        client = boto3.session.Session().client("secretsmanager", region_name=region, config=limits)
        said = client.get_secret_value(SecretId=name)
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "unknown")
        hint = AWS_HINTS.get(code, "look the code up at AWS")
        raise _NotThereError(f"AWS Secrets Manager ({region}) refuses {name}: {code}; {hint}") from None
    except (BotoCoreError, ValueError) as error:
        raise _NotThereError(
            f"AWS Secrets Manager ({region}) did not deliver {name}: {type(error).__name__}; check role, region and network"
        ) from None
    text = said.get("SecretString")
    if not isinstance(text, str):
        raise _NotThereError(f"{name} is binary: store it as text")
    if not field:
        return text
    try:
        found = json.loads(text)[field]
    except (ValueError, KeyError, TypeError):
        raise _NotThereError(f"{name} is no JSON object with a field {field!r}") from None
    if not isinstance(found, str):
        raise _NotThereError(f"{name}: the field {field!r} is no text")
    return found


def _text(raw: bytes, what: str) -> str:
    if len(raw) > LONGEST:
        raise _NotThereError(f"{what} holds more than {LONGEST} bytes: that is no key")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise _NotThereError(f"{what} is no text: that is no key") from None


class Mask:
    """Takes secrets out of whatever comes in or is about to be written: known values, and signatures by their form.

    The masked type keeps us from showing a secret; this is for what others say: a venue that repeats a request in its
    refusal, a library that names an address, an operator who pastes the wrong thing.
    """

    def __init__(self, *secrets: Secret) -> None:
        self._pairs: list[tuple[bytes, bytes]] = []
        for secret in secrets:
            self.take(secret)

    def take(self, secret: Secret) -> None:
        """Mask a secret from now on; of one with several lines, each line that holds something."""
        for line in secret.reveal().split():
            if not line.startswith("-----"):
                self.hide(line, "…")

    def hide(self, value: str, name: str) -> None:
        """Show a value by another name from now on; what is too short to be a secret stays."""
        pair = (value.encode(), name.encode())
        if len(value) >= SHORTEST and pair not in self._pairs:
            self._pairs.append(pair)

    def data(self, raw: bytes) -> bytes:
        """Return bytes without what is masked."""
        for value, name in self._pairs:
            if value in raw:
                raw = raw.replace(value, name)
        return SIGNATURE.sub(SIGNATURE_SHOWN, raw) if b"signature" in raw else raw

    def text(self, text: str) -> str:
        """Return text without what is masked."""
        return self.data(text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")
