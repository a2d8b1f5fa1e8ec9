"""The command line: exit codes, JSON, and an offline audit that needs neither Django nor a network."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from compute.cli import main

ZERO = "0x" + "00" * 32


def entries(count: int) -> list[dict[str, Any]]:
    previous, made = ZERO, []
    for sequence in range(1, count + 1):
        body = [sequence, 1000 + sequence, "grant.approved", "user:east", ZERO, ZERO, {"quota": 5}, previous]
        digest = (
            "0x"
            + hashlib.sha256(b"liutong/audit/1\n" + msgspec.json.encode(body, order="sorted")).hexdigest()
        )
        names = ("sequence", "at_ms", "verb", "actor", "party_id", "subject", "detail", "previous")
        made.append({"type": "entry", **dict(zip(names, body, strict=True)), "digest": digest})
        previous = digest
    return made


def write(path: Path, lines: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def run(*arguments: str) -> Any:
    return CliRunner().invoke(main, list(arguments))


def test_an_intact_audit_file_verifies(tmp_path: Path) -> None:
    file = write(tmp_path / "audit.jsonl", entries(3))
    result = run("audit", "verify", "--offline", str(file), "--json")
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    assert report["ok"] is True
    assert report["entries"] == 3


@pytest.mark.parametrize("change", ["field", "order", "gap", "extra"])
def test_a_changed_audit_file_does_not(tmp_path: Path, change: str) -> None:
    lines = entries(4)
    if change == "field":
        lines[1]["detail"] = {"quota": 500}
    elif change == "order":
        lines[1], lines[2] = lines[2], lines[1]
    elif change == "gap":
        del lines[1]
    else:
        lines[1]["note"] = "x"
    file = write(tmp_path / "audit.jsonl", lines)
    result = run("audit", "verify", "--offline", str(file), "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["problems"]


def test_a_forged_evidence_bundle_is_named(tmp_path: Path) -> None:
    file = write(tmp_path / "audit.jsonl", [{"type": "evidence", "bundle": {"receipt": {}}}])
    result = run("audit", "verify", "--offline", str(file), "--json")
    assert result.exit_code == 1
    assert "evidence" in json.loads(result.stdout)["problems"][0]


@pytest.mark.parametrize("content", ["", "not json", '{"neither": 1}\n', "[1]\n"])
def test_a_file_that_proves_nothing_does_not_pass(tmp_path: Path, content: str) -> None:
    file = tmp_path / "audit.jsonl"
    file.write_text(content)
    assert run("audit", "verify", "--offline", str(file)).exit_code in (1, 2)


def test_the_offline_audit_imports_no_django_and_opens_no_socket(tmp_path: Path) -> None:
    file = write(tmp_path / "audit.jsonl", entries(2))
    program = (
        "import socket, sys\n"
        "def no(*a, **k): raise OSError('network')\n"
        "socket.socket.connect = socket.getaddrinfo = no\n"
        "from compute.cli import main\n"
        f"main(['audit', 'verify', '--offline', {str(file)!r}, '--json'], standalone_mode=False)\n"
        "assert not any(m == 'django' or m.startswith('django.') for m in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ok"] is True


def test_keys_new_makes_a_sealed_file_once(tmp_path: Path) -> None:
    passphrase = tmp_path / "passphrase"
    passphrase.write_text("a long passphrase")
    passphrase.chmod(0o600)
    options = ["--key-file", str(tmp_path / "party.keys"), "--passphrase-file", str(passphrase), "--json"]
    first = run("keys", "new", *options)
    assert first.exit_code == 0
    assert json.loads(first.stdout)["party"].startswith("0x")
    again = run("keys", "new", *options)
    assert again.exit_code == 2
    assert json.loads(again.stderr)["error"]["code"] == "input.invalid"


def test_an_open_passphrase_file_is_refused(tmp_path: Path) -> None:
    passphrase = tmp_path / "passphrase"
    passphrase.write_text("a long passphrase")
    passphrase.chmod(0o644)
    result = run("keys", "new", "--key-file", str(tmp_path / "k"), "--passphrase-file", str(passphrase))
    assert result.exit_code == 2
    assert "chmod 600" in result.stderr


def test_a_silent_portal_gives_exit_code_three(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compute.sdk.portal.time.sleep", lambda seconds: None)
    key = tmp_path / "key"
    key.write_text("lt_x")
    result = run("--url", "http://127.0.0.1:9", "--api-key-file", str(key), "--json", "datasets")
    assert result.exit_code == 3
    assert json.loads(result.stderr)["error"]["code"] == "portal.unreachable"


def test_missing_options_are_named() -> None:
    result = run("datasets")
    assert result.exit_code == 2
    assert "--url" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("psi", "--purpose", "p", "--grant", "left"),
        ("psi", "--purpose", "p", "--grant", "left=1", "--grant", "left=2"),
        ("psi", "--purpose", "p", "--grant", "left=1", "--params", "[1]"),
        ("psi", "--purpose", "p", "--grant", "left=1", "--params", "{"),
        ("psi", "--purpose", "p"),
    ],
)
def test_a_malformed_order_never_leaves(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    key = tmp_path / "key"
    key.write_text("lt_x")
    passphrase = tmp_path / "passphrase"
    passphrase.write_text("a long passphrase")
    passphrase.chmod(0o600)
    keys = str(tmp_path / "party.keys")
    shared = ["--url", "http://127.0.0.1:9", "--api-key-file", str(key), "--key-file", keys]
    shared += ["--passphrase-file", str(passphrase)]
    assert run("keys", "new", "--key-file", keys, "--passphrase-file", str(passphrase)).exit_code == 0
    assert run("jobs", "run", *arguments, *shared).exit_code == 2


@pytest.mark.parametrize("text", ["\x1b[2J\x1b]0;owned\x07", "[/bold] [red]", "a\r\nb"])
def test_texts_of_others_do_not_steer_the_terminal(text: str) -> None:
    from io import StringIO

    from rich.console import Console

    from compute.cli.show import table

    out = StringIO()
    Console(file=out, width=100).print(table(("name",), [(text,)]))
    assert "\x1b" not in out.getvalue()
    assert "\x07" not in out.getvalue()
    if "[" in text and "\x1b" not in text:
        assert text in out.getvalue()


def test_an_audit_file_of_another_kind_is_one_line_not_a_traceback(tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    file.write_text('{"neither": 1}\n')
    result = run("audit", "verify", "--offline", str(file), "--json")
    assert result.exit_code == 2
