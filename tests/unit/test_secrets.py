"""Where keys come from, who else may read them, and that nothing shows them."""

from __future__ import annotations

import copy
import logging
import os
import pickle
import shlex
import sys
import traceback
from pathlib import Path

import orjson
import pytest

from streamhedge.errors import ConfigError
from streamhedge.settings.secrets import Secret, fingerprint, load_secret, redact

CANARY = "c4n4ry-8f1e"


def load(source: dict[str, str], **env: str) -> Secret:
    return load_secret("api_secret", source, env)


def command(code: str) -> dict[str, str]:
    return {"command": shlex.join([sys.executable, "-c", code])}


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text(CANARY + "\n")
    path.chmod(0o600)
    return path


# ---------------------------------------------------------------- sources


def test_each_source_delivers(key_file: Path) -> None:
    assert load({"env": "KEY"}, KEY=f" {CANARY}\n").reveal() == CANARY
    assert load({"file": str(key_file)}).reveal() == CANARY
    assert load({"credential": "key"}, CREDENTIALS_DIRECTORY=str(key_file.parent)).reveal() == CANARY
    assert load(command(f"print({CANARY!r})")).reveal() == CANARY


def test_a_private_key_of_several_lines_stays_whole(key_file: Path) -> None:
    pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAw\n-----END PRIVATE KEY-----"
    key_file.write_text(pem + "\n")
    assert load({"file": str(key_file)}).reveal() == pem


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ({}, "say exactly one of env, file, credential, command"),
        ({"env": "A", "file": "B"}, "say exactly one of"),
        ({"vault": "A"}, "unknown source 'vault'; use one of env"),
        ({"aws_sm": "arn"}, "not built in yet"),
        ({"env": "KEY"}, "environment variable KEY is not set; export it"),
        ({"env": "EMPTY"}, "env EMPTY is empty"),
        ({"file": "/nowhere/key"}, "/nowhere/key: No such file"),
        ({"credential": "key"}, "no CREDENTIALS_DIRECTORY"),
        ({"command": ""}, "the command is empty"),
        ({"command": "'"}, "not well quoted"),
        ({"command": "/nowhere/command now"}, "the command /nowhere/command did not deliver: FileNotFoundError"),
    ],
)
def test_a_source_that_does_not_deliver_says_why(source: dict[str, str], reason: str) -> None:
    with pytest.raises(ConfigError, match="api_secret: ") as caught:
        load(source, EMPTY="  ")
    assert reason in str(caught.value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o660, 0o666, 0o644])
@pytest.mark.fault("X8")
def test_a_key_file_that_others_can_read_is_refused(key_file: Path, mode: int) -> None:
    key_file.chmod(mode)
    with pytest.raises(ConfigError, match=rf"can be read by others \(owner \d+, mode {mode:o}\): chmod 600 it"):
        load({"file": str(key_file)})


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
def test_somebody_elses_key_file_is_refused(key_file: Path) -> None:
    os.chown(key_file, 65534, 65534)
    with pytest.raises(ConfigError, match="owner 65534"):
        load({"file": str(key_file)})


def test_a_link_a_folder_and_a_pipe_are_no_key_file(key_file: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(key_file)
    with pytest.raises(ConfigError, match="link"):
        load({"file": str(tmp_path / "link")})
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name in ("folder", "pipe"):
        with pytest.raises(ConfigError, match=f"{name} is no file"):
            load({"file": str(tmp_path / name)})


def test_a_credential_is_a_name_in_its_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a name has no slash"):
        load({"credential": "../key"}, CREDENTIALS_DIRECTORY=str(tmp_path))
    with pytest.raises(ConfigError, match="credential key: No such file"):
        load({"credential": "key"}, CREDENTIALS_DIRECTORY=str(tmp_path))


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (f"import sys; print({CANARY!r}); sys.stderr.write({CANARY!r}); sys.exit(3)", "exit status 3"),
        (f"import sys; sys.stdout.buffer.write({CANARY.encode()!r} + bytes([255]))", "is no text"),
        (f"print({CANARY!r} * 10_000)", "holds more than 16384 bytes"),
        ("pass", "is empty"),
    ],
)
def test_a_command_that_fails_shows_nothing_of_what_it_said(code: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_secret("api_secret", {"command": f"{shlex.quote(sys.executable)} -c {shlex.quote(code)}"}, {})
    assert reason in str(caught.value)
    assert CANARY not in str(caught.value)
    assert CANARY not in repr(vars(caught.value)) and caught.value.__cause__ is None
    assert caught.value.__context__ is None or caught.value.__suppress_context__


def test_a_file_that_is_no_text_shows_nothing_of_itself(key_file: Path) -> None:
    key_file.write_bytes(CANARY.encode() + b"\xff")
    with pytest.raises(ConfigError, match="is no text") as caught:
        load({"file": str(key_file)})
    assert CANARY not in "".join(traceback.format_exception(caught.value))
    assert caught.value.__cause__ is None and caught.value.__suppress_context__


# ---------------------------------------------------------------- hiding


@pytest.mark.fault("X3")
def test_nothing_shows_a_secret(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    secret = Secret(CANARY)
    shown = [
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret!r}",
        f"{secret!a}",
        format(secret),
        "{} {!r}".format(*[secret] * 2),
    ]
    shown += [repr([secret]), repr({"key": secret}), orjson.dumps({"key": secret}, default=str).decode()]
    print(secret)
    with caplog.at_level(logging.INFO):
        logging.getLogger("test").info("key %s %r", secret, secret)
    try:
        raise ValueError(secret)
    except ValueError as error:
        frames = traceback.TracebackException.from_exception(error, capture_locals=True)
        shown += ["".join(frames.format())]
    assert CANARY not in "".join(shown) + capsys.readouterr().out + caplog.text
    assert str(secret) == "Secret(…)"


@pytest.mark.fault("X3")
def test_a_secret_is_neither_pickled_copied_nor_looked_into() -> None:
    secret = Secret(CANARY)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="not pickled"):
            pickle.dumps(secret, protocol)
    for attempt in (copy.copy, copy.deepcopy, vars, orjson.dumps):
        with pytest.raises(TypeError):
            attempt(secret)
    with pytest.raises(TypeError):
        format(secret, ">40")


def test_a_fingerprint_names_a_key_without_showing_it() -> None:
    assert fingerprint(Secret("abc")) == "ba7816bf8f01"
    assert fingerprint(Secret("abd")) != fingerprint(Secret("abc"))


@pytest.mark.fault("X3")
def test_what_is_redacted_is_gone_everywhere() -> None:
    text = f"signature of {CANARY} with {CANARY}, key k-1"
    assert redact(text, (Secret(CANARY), Secret("k-1"), Secret(""))) == "signature of … with …, key …"
