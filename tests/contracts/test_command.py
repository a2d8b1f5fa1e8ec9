"""The operator's command line: what it makes works, and what does not fit is one line and an exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from contracts.__main__ import main
from contracts.bindings import Chain
from tests.chain_lab import Anvil, free_port


def test_a_new_key_belongs_to_its_owner_alone_and_is_never_replaced(tmp_path: Path, capsys):
    file = tmp_path / "relayer.key"
    assert main(["new-key", str(file)]) == 0
    address = capsys.readouterr().out.strip()
    before = file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    assert main(["address", str(file)]) == 0
    assert capsys.readouterr().out.strip() == address

    assert main(["new-key", str(file)]) == 2
    assert file.read_text() == before


def test_deploy_names_contracts_that_answer(tmp_path: Path, capsys, anvil: Anvil):
    file = tmp_path / "relayer.key"
    main(["new-key", str(file)])
    capsys.readouterr()
    assert main(["deploy", "--rpc-url", anvil.url, "--key-file", str(file), "--release-grace-s", "60"]) == 0
    made = json.loads(capsys.readouterr().out)
    chain = Chain(anvil.url, made["address_book"])
    assert chain.addresses["UsageLedger"] == made["usage_ledger"]


@pytest.mark.parametrize("content", ["", "abc", "00" * 32, "ff" * 32, "zz" * 32, "11" * 33])
def test_a_file_without_a_key_is_refused_without_showing_it(tmp_path: Path, capsys, content: str):
    file = tmp_path / "relayer.key"
    file.write_text(content)
    assert main(["address", str(file)]) == 2
    said = capsys.readouterr().err
    assert "64 hexadecimal digits" in said
    assert not content or content not in said


def test_a_silent_endpoint_is_said_so(tmp_path: Path, capsys):
    file = tmp_path / "relayer.key"
    main(["new-key", str(file)])
    assert main(["deploy", "--rpc-url", f"http://127.0.0.1:{free_port()}", "--key-file", str(file)]) == 3
    assert "chain.unreachable" in capsys.readouterr().err
