"""Management commands and settings: what operators type, and what they are told when it is wrong."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command

from compute.wire.messages import Enrolment
from contracts.eip712 import Action
from market import environment
from market.errors import BadSignature
from market.ledger.models import WorkerBeat
from market.parties import services as parties
from market.parties.actor import Actor
from market.parties.enrolment import relay_suspension
from market.parties.models import ApiKey, Membership, Party
from tests.market.conftest import Cast
from tests.market.parties import Party as Keys
from tests.market.parties import Stage, hexadecimal

REPOSITORY = Path(__file__).resolve().parents[2]


def test_models_and_migrations_agree(db: None) -> None:
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)


def enrolment_file(stage: Stage, folder: Path, keys: Keys, **changes: Any) -> Path:
    document = Enrolment(
        party=hexadecimal(keys.id),
        name="Institute",
        address=keys.address,
        box_key=hexadecimal(keys.box_key),
        he_key_digest=hexadecimal(bytes(32)),
        signature=hexadecimal(stage.lab.sign("PartyRegistry", keys.node_key(), keys)),
    )
    path = folder / "enrolment.json"
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(document, **changes)))
    return path


def test_enrol_proposes_and_the_chain_enrols(
    stage: Stage, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = enrolment_file(stage, tmp_path, Keys())
    call_command("enrol", str(path), "--roles", "consumer", "--name-zh", "研究所", "--json")
    told = json.loads(capsys.readouterr().out)
    stage.settle()
    party = Party.objects.get(pk=told["party"])
    assert (party.state, party.role_names, party.name_zh) == ("enrolled", ["consumer"], "研究所")
    call_command("enrol", str(path), "--roles", "consumer")
    assert Party.objects.filter(name="Institute").count() == 1


def test_a_node_that_moved_is_named_anew(stage: Stage, cast: Cast) -> None:
    call_command("describe_party", "Alice", "--node-url", "https://elsewhere.example")
    cast.alice.row.refresh_from_db()
    assert (cast.alice.row.name, cast.alice.row.node_url) == ("Alice", "https://elsewhere.example")
    with pytest.raises(CommandError, match="no party 'Nobody'"):
        call_command("describe_party", "Nobody", "--name", "Somebody")


def test_nobody_signs_for_a_party_without_a_key(stage: Stage, cast: Cast) -> None:
    call_command("create_party", "Watchdog", "--roles", "regulator")
    watchdog = Party.objects.get(name="Watchdog")
    action = Action(bytes.fromhex(watchdog.party_id[2:]), cast.alice.keys.id, 3, 0)
    for malformed in (bytes(65), b"\xff" * 65, b""):
        with pytest.raises(BadSignature):
            relay_suspension(action=action, signature=malformed, actor=Actor.system("test"))


@pytest.mark.parametrize(
    "damage",
    [
        {"name": "x" * 300},
        {"signature": "0x" + "1b" * 65},
        {"box_key": "0x" + "00" * 32},
        {"address": "0x" + "00" * 20},
    ],
)
def test_a_damaged_enrolment_is_refused(stage: Stage, tmp_path: Path, damage: dict[str, str]) -> None:
    path = enrolment_file(stage, tmp_path, Keys(), **damage)
    with pytest.raises(CommandError):
        call_command("enrol", str(path), "--roles", "consumer")
    assert not Party.objects.filter(name__startswith="Inst").exists()


def test_enrol_names_a_missing_file_and_an_unknown_role(stage: Stage, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"nothing\.json"):
        call_command("enrol", str(tmp_path / "nothing.json"), "--roles", "consumer")
    with pytest.raises(CommandError, match="emperor"):
        call_command("enrol", str(tmp_path / "nothing.json"), "--roles", "emperor")


def test_logins_and_keys_for_a_party(
    stage: Stage, cast: Cast, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = tmp_path / "password"
    secret.write_text("a long enough pass phrase\n")
    for _ in range(2):
        call_command(
            "create_login", "alice", "--party", "Alice", "--roles", "provider", "--password-file", str(secret)
        )
    assert Membership.objects.filter(user__username="alice").count() == 1
    secret.write_text("short")
    with pytest.raises(CommandError, match=r"password|short"):
        call_command(
            "create_login", "eve", "--party", "Alice", "--roles", "provider", "--password-file", str(secret)
        )
    out = tmp_path / "key"
    call_command("create_api_key", "--party", cast.bob.id, "--scopes", "read,jobs", "--out", str(out))
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    key = parties.authenticate_api_key(out.read_text().strip())
    assert (key.party_id, key.scopes) == (cast.bob.id, ["read", "jobs"])
    assert out.read_text().strip() not in capsys.readouterr().out
    with pytest.raises(CommandError):
        call_command("create_api_key", "--party", cast.bob.id, "--scopes", "everything")
    assert ApiKey.objects.filter(party=cast.bob.row).count() == 1


def test_operators_and_regulators_may_act_without_a_key_on_chain(
    db: None, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        call_command("create_party", "Office", "--roles", "operator,regulator", "--json")
    told = [
        json.loads(line)["party"] for line in capsys.readouterr().out.split()[1::2] if line.startswith("{")
    ]
    assert Party.objects.get(name="Office").role_names == ["regulator", "operator"]
    assert len(set(told)) <= 1
    with pytest.raises(CommandError):
        call_command("create_party", "Bank", "--roles", "provider")


def test_workers_run_to_the_end_once(stage: Stage, cast: Cast, tmp_path: Path, settings: Any) -> None:
    relayer, portal = tmp_path / "relayer", tmp_path / "portal"
    relayer.write_text(stage.lab.operator_key.hex())
    portal.write_text("11" * 32)
    settings.RELAYER_KEY_FILE, settings.PORTAL_KEY_FILE = str(relayer), str(portal)
    for name in ("relay", "index"):
        call_command(name, "--once")
        assert WorkerBeat.objects.filter(name=name).exists()


def test_workers_without_their_key_do_not_start(db: None, settings: Any, tmp_path: Path) -> None:
    from market.errors import KeyMissing

    settings.RELAYER_KEY_FILE = ""
    with pytest.raises(KeyMissing):
        call_command("relay", "--once")
    short = tmp_path / "short"
    short.write_text("abcd")
    settings.PORTAL_KEY_FILE = str(short)
    with pytest.raises(KeyMissing):
        call_command("drive", "--once")


def test_a_worker_outlives_a_silent_chain(db: None, settings: Any, tmp_path: Path) -> None:
    from contracts.bindings import Chain
    from market.ledger import chain as door

    key = tmp_path / "relayer"
    key.write_text("22" * 32)
    settings.RELAYER_KEY_FILE = str(key)
    door.use(Chain("http://127.0.0.1:9", "0x" + "00" * 20, timeout_s=0.5))
    try:
        call_command("relay", "--once")
    finally:
        door.use(None)
    assert "127.0.0.1:9" in WorkerBeat.objects.get(name="relay").note


def test_catalogues_compile_without_gettext(
    settings: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "zh_Hans" / "LC_MESSAGES"
    folder.mkdir(parents=True)
    header = 'msgid ""\nmsgstr "Content-Type: text/plain; charset=UTF-8\\n"\n\n'
    (folder / "django.po").write_text(header + 'msgid "grant"\nmsgstr "授权"\n\nmsgid "job"\nmsgstr ""\n')
    settings.LOCALE_PATHS = [tmp_path]
    call_command("compile_catalogues")
    import gettext

    with (folder / "django.mo").open("rb") as file:
        assert gettext.GNUTranslations(file).gettext("grant") == "授权"
    with pytest.raises(CommandError, match="job"):
        call_command("compile_catalogues", "--check")
    (folder / "django.po").write_text('msgid "grant\n')
    with pytest.raises(CommandError, match=r"django\.po"):
        call_command("compile_catalogues")


# ---- settings ---------------------------------------------------------------------------------------------


def test_a_secret_is_made_once_and_is_the_owners_alone(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.delenv("SECRET_KEY_FILE", raising=False)
    path = tmp_path / "made" / "secret_key"
    first = environment.secret_from_file("SECRET_KEY", create_at=path)
    assert first == environment.secret_from_file("SECRET_KEY", create_at=path)
    assert len(first) > 50
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_a_secret_file_that_is_missing_or_empty_is_named(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("SECRET_KEY_FILE", str(tmp_path / "none"))
    with pytest.raises(ImproperlyConfigured, match="SECRET_KEY_FILE"):
        environment.secret_from_file("SECRET_KEY")
    (tmp_path / "none").write_text(" ")
    with pytest.raises(ImproperlyConfigured, match="empty"):
        environment.secret_from_file("SECRET_KEY")


def test_database_urls() -> None:
    sqlite: Any = environment.database("sqlite:////data/portal.db")
    assert sqlite["NAME"] == "/data/portal.db"
    assert sqlite["OPTIONS"]["transaction_mode"] == "IMMEDIATE"
    postgres: Any = environment.database("postgresql://me:p%40ss@db:5433/market?sslmode=require")
    assert (postgres["PASSWORD"], postgres["PORT"]) == ("p@ss", "5433")
    assert postgres["OPTIONS"] == {"sslmode": "require"}
    with pytest.raises(ImproperlyConfigured):
        environment.database("mysql://x")


@pytest.mark.parametrize("value", ["maybe", "2"])
def test_a_flag_that_is_no_flag_is_named(monkeypatch: Any, value: str) -> None:
    monkeypatch.setenv("HTTPS", value)
    with pytest.raises(ImproperlyConfigured, match="HTTPS"):
        environment.flag("HTTPS")


def test_pages_carry_a_policy_without_inline_scripts(client: Any, db: None) -> None:
    answer = client.get("/healthz")
    assert answer.json() == {"ok": True}
    assert "unsafe-inline" not in answer["Content-Security-Policy"]
    assert "default-src 'self'" in answer["Content-Security-Policy"]


def test_the_job_kinds_are_read_as_data() -> None:
    from market.jobs import kinds

    names = [kind["name"] for kind in kinds.job_kinds()]
    assert {"psi", "stats.vertical", "stats.horizontal", "pir.keyword", "fl.logistic", "eaas"} <= set(names)
    assert kinds.operation_of("stats.vertical") == "stats"


def test_the_portal_does_not_import_protocols_or_keys(tmp_path: Path) -> None:
    program = (
        "import django, sys; django.setup(); import market.asgi, market.jobs.drive, market.audit.reconcile\n"
        "bad = [m for m in sys.modules if m.startswith(('compute.protocols', 'compute.node', 'compute.keys',"
        " 'compute.data', 'compute.sdk', 'compute.eaas', 'accel'))]\n"
        "print(bad); sys.exit(bool(bad))"
    )
    environ = {**os.environ, "DJANGO_SETTINGS_MODULE": "market.settings", "VAR_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=REPOSITORY,
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
