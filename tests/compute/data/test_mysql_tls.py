"""MySQL and MariaDB over TLS: what leaves this machine is encrypted to a server that proves who it is."""

from __future__ import annotations

import datetime
import os
import shutil
import ssl
import subprocess
import tempfile
from pathlib import Path

import pymysql
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from compute.data import mysql_source
from compute.errors import DataError
from tests.chain_lab import free_port
from tests.compute.data.sources import declare
from tests.compute.node.rig import wait_for

ID = {"name": "id", "type": "string"}
# What protects the connection itself.
STATUS = "information_schema.SESSION_STATUS"
CIPHER = f"SELECT VARIABLE_VALUE AS id FROM {STATUS} WHERE VARIABLE_NAME = 'Ssl_cipher'"


def certify(folder: Path, host: str) -> None:
    """A key and a certificate for a host, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.TraditionalOpenSSL
    secret = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(secret)


@pytest.fixture(scope="module")
def server():
    """A MariaDB of this test's own with TLS, as (port, its certificate for "localhost")."""
    if shutil.which("mariadbd") is None or shutil.which("mariadb-install-db") is None:
        pytest.skip("there is no MariaDB to start")
    with tempfile.TemporaryDirectory(prefix="liutong-") as name:
        folder, port = Path(name), free_port()
        certify(folder, "localhost")
        user = ["--user=mysql"] if os.geteuid() == 0 else []
        if user:
            for path in (folder, *folder.iterdir()):
                shutil.chown(path, "mysql")
        data = [*user, f"--datadir={folder / 'data'}"]
        install = ["mariadb-install-db", "--no-defaults", "--auth-root-authentication-method=normal", *data]
        subprocess.run(install, check=True, stdout=subprocess.DEVNULL)
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                ["mariadbd", "--no-defaults", *data, "--bind-address=127.0.0.1", f"--port={port}",
                 f"--socket={folder / 'socket'}", f"--pid-file={folder / 'pid'}",
                 f"--ssl-cert={folder / 'certificate.pem'}", f"--ssl-key={folder / 'key.pem'}"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

        def answers() -> bool:
            assert process.poll() is None, (folder / "log").read_text()
            try:
                pymysql.connect(host="127.0.0.1", port=port, user="root", connect_timeout=3).close()
            except pymysql.OperationalError:
                return False
            return True

        try:
            wait_for(answers, 60, (folder / "log").read_text)
            yield port, folder / "certificate.pem"
        finally:
            process.terminate()
            process.wait(timeout=60)


@pytest.fixture
def cipher(server, tmp_path):
    """What protects a connection to ``host`` with these options."""

    def ask(host: str, options: str) -> str:
        port, certificate = server
        options = options.format(certificate=certificate)
        (tmp_path / "dsn").write_text(f"mysql://root@{host}:{port}/mysql{options}")
        source = declare(tmp_path, [ID | {"nullable": True}], kind="mysql", dsn_file="dsn", query=CIPHER)
        (found,) = source.read()["id"].to_pylist()
        return found or ""

    return ask


@pytest.fixture
def far_away(monkeypatch):
    """The loopback counts as another machine."""
    monkeypatch.setattr(mysql_source, "_is_loopback", lambda host: False)


@pytest.mark.parametrize(
    ("options", "encrypted"),
    [("?ssl_ca={certificate}", True), ("?ssl_mode=verify_identity&ssl_ca={certificate}", True),
     ("?ssl_mode=required", True), ("?ssl_mode=disabled", False)],
)  # fmt: skip
def test_a_mode_that_is_named_is_kept(cipher, far_away, options, encrypted):
    assert bool(cipher("localhost", options)) is encrypted


@pytest.mark.parametrize("options", ["", "?ssl_mode=verify_identity"])
def test_a_server_far_away_that_proves_nothing_is_refused(cipher, far_away, options):
    with pytest.raises(DataError, match="ssl_mode=required"):
        cipher("localhost", options)


def test_a_certificate_of_another_host_is_refused(cipher):
    with pytest.raises(DataError, match="ssl_mode=required"):
        cipher("127.0.0.1", "?ssl_ca={certificate}")
    assert cipher("127.0.0.1", "?ssl_mode=required")


@pytest.mark.mysql
@pytest.mark.parametrize("options", ["", "?ssl_mode=required"])
def test_a_server_without_tls_is_refused_if_it_is_far_away(tmp_path, far_away, options):
    """The one on the standard port has none."""
    try:
        connection = pymysql.connect(host="127.0.0.1", user="root", database="test", connect_timeout=3)
    except pymysql.OperationalError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"no MySQL at 127.0.0.1:3306: {error}")
    with connection, connection.cursor() as cursor:
        cursor.execute("SHOW VARIABLES LIKE 'have_ssl'")
        if cursor.fetchone() == ("have_ssl", "YES"):
            pytest.skip("this server has TLS")
    (tmp_path / "dsn").write_text(f"mysql://root@127.0.0.1/test{options}")
    with pytest.raises(DataError, match="offers no TLS"):
        declare(tmp_path, [ID], kind="mysql", dsn_file="dsn", query="SELECT 'a' AS id").read()


@pytest.mark.parametrize("host", ["db.example", "10.0.0.7", "[2001:db8::1]"])
def test_other_machines_have_to_prove_who_they_are(tmp_path, host):
    (tmp_path / "dsn").write_text(f"mysql://root@{host}/test")
    context = mysql_source._settings(tmp_path / "dsn")["ssl"]
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "[::1]"])
def test_on_the_loopback_nothing_has_to_be_proved(tmp_path, host):
    (tmp_path / "dsn").write_text(f"mysql://root@{host}/test")
    assert not {"ssl", "ssl_disabled"} & set(mysql_source._settings(tmp_path / "dsn"))


@pytest.mark.parametrize(
    ("options", "reason"),
    [("ssl_mode=perhaps", "verify_identity, required, disabled"), ("ssl_mode=required&ssl_ca=x", "ssl_ca"),
     ("ssl_mode=disabled&ssl_ca=x", "ssl_ca"), ("ssl_ca=/nowhere.pem", "cannot be read")],
)  # fmt: skip
def test_settings_that_contradict_each_other_are_told(tmp_path, options, reason):
    (tmp_path / "dsn").write_text(f"mysql://someone:hunter2@127.0.0.1/test?{options}")
    with pytest.raises(DataError, match=reason) as caught:
        mysql_source._settings(tmp_path / "dsn")
    assert "hunter2" not in str(caught.value)
