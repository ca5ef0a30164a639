"""Where keys come from, who else may read them, and that nothing shows them."""

from __future__ import annotations

import copy
import json
import logging
import os
import pickle
import shlex
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from streamhedge.errors import ConfigError
from streamhedge.settings.secrets import Mask, Secret, fingerprint, load_secret

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
def test_what_is_masked_is_gone_everywhere() -> None:
    mask = Mask(Secret(CANARY), Secret("short"), Secret(""))
    mask.hide("listen-key-of-the-venue", "lk1")
    text = f"{CANARY}, again {CANARY} by listen-key-of-the-venue, in short"
    assert mask.text(text) == "…, again … by lk1, in short"
    assert mask.data(b"\xff" + CANARY.encode()) == b"\xff" + "…".encode()
    assert mask.text("half a pair \ud800") == "half a pair \ud800"


@pytest.mark.parametrize(
    "text",
    [
        "https://venue/fapi/v1/order?a=1&signature={}",
        '{{"params":{{"signature":"{}"}}}}',
        "{{'signature': '{}'}}",
        '{{\\"signature\\":\\"{}\\"}}',
        "signature = {}",
    ],
)
@pytest.mark.parametrize("form", ["ab01" * 16, "Zm9v" * 21 + "Zg==", "Zm9v%2B" * 12 + "%3D"])
@pytest.mark.fault("X3")
def test_a_signature_is_known_by_its_form(text: str, form: str) -> None:
    said = Mask().text(text.format(form) + " and more")
    assert form not in said and "…" in said and said.endswith(" and more")


def test_a_private_key_is_masked_line_by_line() -> None:
    pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA\nsecondline+of/it=\n-----END PRIVATE KEY-----"
    said = Mask(Secret(pem)).text(pem.replace("\n", "\\n"))
    assert "MC4CAQ" not in said and "secondline" not in said and "BEGIN" in said


# ---------------------------------------------------------------- AWS Secrets Manager

REGION = "eu-central-1"


@pytest.fixture
def vault(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    moto = pytest.importorskip("moto", reason="moto is not installed")
    import boto3

    for name, value in (("AWS_ACCESS_KEY_ID", "testing"), ("AWS_SECRET_ACCESS_KEY", "testing")):
        monkeypatch.setenv(name, value)
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    with moto.mock_aws():
        yield boto3.client("secretsmanager", region_name=REGION)


def test_a_secret_of_aws_is_read_whole_or_by_field(vault: Any) -> None:
    plain = vault.create_secret(Name="desk/secret", SecretString=f"{CANARY}\n")["ARN"]
    both = vault.create_secret(Name="desk/both", SecretString=json.dumps({"api_secret": CANARY, "number": 7}))["ARN"]
    assert load({"aws_sm": plain}).reveal() == CANARY, "the region is the ARN's"
    assert load({"aws_sm": "desk/secret"}, AWS_REGION=REGION).reveal() == CANARY
    assert load({"aws_sm": "desk/secret"}, AWS_DEFAULT_REGION=REGION).reveal() == CANARY
    assert load({"aws_sm": f"{both}#api_secret"}).reveal() == CANARY
    vault.create_secret(Name="desk/blob", SecretBinary=CANARY.encode())
    for where, reason in (
        ("desk/secret", "no region; name the secret by its ARN"),
        (f"{both}#api_key", "no JSON object with a field 'api_key'"),
        (f"{both}#number", "the field 'number' is no text"),
        (f"{plain}#field", "no JSON object with a field 'field'"),
        (
            f"arn:aws:secretsmanager:{REGION}:1:secret:nowhere",
            "ResourceNotFoundException; check name, region and account",
        ),
    ):
        with pytest.raises(ConfigError, match="api_secret: ") as caught:
            load({"aws_sm": where})
        assert reason in str(caught.value)
        assert CANARY not in "".join(traceback.format_exception(caught.value)) and caught.value.__suppress_context__
    with pytest.raises(ConfigError, match="is binary"):
        load({"aws_sm": "desk/blob"}, AWS_REGION=REGION)


def test_aws_without_credentials_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("boto3", reason="boto3 is not installed")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    with pytest.raises(ConfigError, match=r"did not deliver desk/key: NoCredentialsError; check role"):
        load({"aws_sm": "desk/key"}, AWS_REGION=REGION)
