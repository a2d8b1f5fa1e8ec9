"""A key store keeps secrets through restarts and crashes, and opens for the right secret only."""

from __future__ import annotations

import base64
import json
import os
import pickle
import threading
import time

import pytest

from compute.errors import BadInput, KeyStoreLocked
from compute.keys import keystore
from compute.keys.keystore import KeyStore, read_secret

SECRET = b"correct horse battery staple"
N = 1 << 15  # the floor: tests open stores many times
CIPHERS = ["aes-256-gcm", "sm4-gcm"]


@pytest.fixture(scope="module", params=CIPHERS)
def sealed(request, tmp_path_factory):
    """The bytes of a store with one entry, for each cipher."""
    path = tmp_path_factory.mktemp("store") / "keys.json"
    KeyStore.create(path, SECRET, cipher=request.param, n=N).put("node", b"k" * 32, "secp256k1")
    return path.read_bytes()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "keys.json"


@pytest.mark.parametrize("cipher", CIPHERS)
def test_what_is_put_is_there_after_a_restart(path, cipher):
    store = KeyStore.create(path, SECRET, cipher=cipher, n=N)
    store.put("node", b"k" * 32, "secp256k1")
    store.put("box", b"", "x25519")
    again = KeyStore.open(path, SECRET)
    assert again.get("node", "secp256k1") == b"k" * 32
    assert again.get("box") == b""
    assert [(entry.name, entry.kind) for entry in again.names()] == [("box", "x25519"), ("node", "secp256k1")]


def test_the_file_is_private_and_shows_no_name_and_no_secret(path):
    KeyStore.create(path, SECRET, n=N).put("paillier-of-the-clinic", b"very secret value", "paillier")
    assert path.stat().st_mode & 0o777 == 0o600
    content = path.read_bytes()
    body = base64.b64decode(json.loads(content)["body"])
    for leak in (b"clinic", b"very secret", b"paillier", SECRET):
        assert leak not in content
        assert leak not in body


def test_two_stores_with_the_same_content_differ(tmp_path):
    bodies = set()
    for name in ("a", "b"):
        KeyStore.create(tmp_path / name, SECRET, n=N)
        bodies.add(json.loads((tmp_path / name).read_bytes())["body"])
    assert len(bodies) == 2


@pytest.mark.parametrize("wrong", [b"correct horse", b"", SECRET + b"\n", SECRET.upper()])
def test_a_wrong_passphrase_does_not_open(path, sealed, wrong):
    path.write_bytes(sealed)
    with pytest.raises(KeyStoreLocked):
        KeyStore.open(path, wrong)


def test_any_flipped_bit_locks_the_store(path, sealed):
    """A bit of every part of the file: parameters, salt, nonce, body, even the format's name."""
    step = max(1, len(sealed) // 24)
    for position in range(0, len(sealed), step):
        damaged = bytearray(sealed)
        damaged[position] ^= 4
        if bytes(damaged).split() == sealed.split():
            continue  # white space between fields
        path.write_bytes(damaged)
        with pytest.raises(KeyStoreLocked):
            KeyStore.open(path, SECRET)


@pytest.mark.parametrize("keep", [0, 1, 50, 200, -1, -30])
def test_a_truncated_store_does_not_open(path, sealed, keep):
    path.write_bytes(sealed[:keep])
    with pytest.raises(KeyStoreLocked):
        KeyStore.open(path, SECRET)


def test_every_cause_gives_the_same_words(path, sealed):
    words = set()
    document = json.loads(sealed)
    document["body"] = ("B" if document["body"][0] == "A" else "A") + document["body"][1:]
    damaged = json.dumps(document).encode()
    for secret, content in [(b"wrong", sealed), (SECRET, sealed[:-9]), (SECRET, damaged)]:
        path.write_bytes(content)
        with pytest.raises(KeyStoreLocked) as caught:
            KeyStore.open(path, secret)
        words.add(str(caught.value))
    assert len(words) == 1


HOSTILE = {
    "memory of 16 GiB": {"n": 1 << 24},
    "an astronomic n": {"n": 1 << 62},
    "a cheap n": {"n": 1 << 10},
    "n no power of two": {"n": (1 << 15) + 1},
    "negative n": {"n": -32768},
    "a large r": {"r": 1 << 20},
    "a small r": {"r": 1},
    "a large p": {"p": 1 << 20},
    "p of zero": {"p": 0},
    "n as text": {"n": "32768"},
    "n as a float": {"n": 32768.0},
    "an unknown kdf": {"name": "pbkdf2"},
    "a short salt": {"salt": "00" * 16},
    "a salt that is no hexadecimal": {"salt": "zz" * 32},
    "a salt with spaces": {"salt": "00 " * 21 + "0"},
    "an unknown field": {"extra": 1},
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_scrypt_parameters_are_refused_at_once(path, sealed, change):
    document = json.loads(sealed)
    document["kdf"] |= change
    path.write_bytes(json.dumps(document).encode())
    started = time.process_time()
    with pytest.raises(KeyStoreLocked):
        KeyStore.open(path, SECRET)
    assert time.process_time() - started < 0.05


@pytest.mark.parametrize(
    "change",
    [
        {"cipher": "none"},
        {"cipher": "aes-128-gcm"},
        {"version": 2},
        {"format": "x"},
        {"nonce": "00"},
        {"nonce": "z" * 24},
        {"nonce": "00" * 12},
        {"body": ""},
        {"body": "!!!!"},
        {"body": "AAAA"},
        {"kdf": None},
        {"more": 1},
    ],
    ids=str,
)
def test_a_hostile_file_is_refused(path, sealed, change):
    path.write_bytes(json.dumps(json.loads(sealed) | change).encode())
    with pytest.raises(KeyStoreLocked):
        KeyStore.open(path, SECRET)


@pytest.mark.parametrize("content", [b"", b"null", b"[]", b"[" * 200_000, b"\xff\xfe", b'{"format":1}'])
def test_what_is_no_store_is_refused(path, content):
    path.write_bytes(content)
    with pytest.raises(KeyStoreLocked):
        KeyStore.open(path, SECRET)


def test_a_file_too_large_is_refused_without_reading_it(path, monkeypatch):
    monkeypatch.setattr(keystore.sealed_file, "MAX_FILE_BYTES", 1000)
    path.write_bytes(b"x" * 1001)
    with pytest.raises(KeyStoreLocked):
        KeyStore.open(path, SECRET)


def test_a_cipher_swap_is_noticed(path, sealed):
    document = json.loads(sealed)
    other = {"aes-256-gcm": "sm4-gcm", "sm4-gcm": "aes-256-gcm"}[document["cipher"]]
    path.write_bytes(json.dumps(document | {"cipher": other}).encode())
    with pytest.raises(KeyStoreLocked):
        KeyStore.open(path, SECRET)


def test_a_missing_store_is_no_empty_store(path):
    with pytest.raises(KeyStoreLocked, match=r"keys\.json"):
        KeyStore.open(path, SECRET)
    assert not path.exists()


def test_a_store_is_never_overwritten(path):
    KeyStore.create(path, SECRET, n=N).put("a", b"1", "x")
    with pytest.raises(BadInput, match="exists"):
        KeyStore.create(path, b"another", n=N)
    assert KeyStore.open(path, SECRET).get("a") == b"1"


def test_a_key_is_never_overwritten(path):
    store = KeyStore.create(path, SECRET, n=N)
    store.put("a", b"1", "x")
    with pytest.raises(BadInput, match="never overwritten"):
        store.put("a", b"2", "x")
    assert store.get("a") == b"1"


def test_a_missing_name_and_a_wrong_kind_are_said_so(path):
    store = KeyStore.create(path, SECRET, n=N)
    store.put("a", b"1", "sm4")
    with pytest.raises(BadInput, match="'b'"):
        store.get("b")
    with pytest.raises(BadInput, match="sm2"):
        store.get("a", "sm2")
    with pytest.raises(BadInput):
        store.delete("b")
    store.delete("a")
    with pytest.raises(BadInput):
        store.get("a")


@pytest.mark.parametrize("name", ["", "../a", "a/b", ".hidden", "a\x00b", "x" * 201, "ключ", "a\n"])
def test_odd_names_are_refused(path, name):
    store = KeyStore.create(path, SECRET, n=N)
    with pytest.raises(BadInput):
        store.put(name, b"", "x")
    assert store.names() == ()


def test_values_are_bounded(path):
    store = KeyStore.create(path, SECRET, n=N)
    store.put("largest", b"x" * (1 << 20), "x")
    with pytest.raises(BadInput):
        store.put("larger", b"x" * ((1 << 20) + 1), "x")


@pytest.mark.parametrize("options", [{"cipher": "rot13"}, {"n": 1 << 14}, {"n": 50_000}, {"n": 1 << 21}])
def test_a_weak_or_absurd_store_cannot_be_made(path, options):
    with pytest.raises(KeyStoreLocked):
        KeyStore.create(path, SECRET, **({"n": N} | options))
    assert not path.exists()


def test_an_empty_secret_makes_no_store(path):
    with pytest.raises(KeyStoreLocked):
        KeyStore.create(path, b"", n=N)


def test_two_open_stores_lose_nothing_of_each_other(path):
    """A command line beside a running node: each change starts from what is on disk."""
    stores = [KeyStore.create(path, SECRET, n=N), KeyStore.open(path, SECRET), KeyStore.open(path, SECRET)]

    def write(number, store):
        for index in range(5):
            store.put(f"{number}.{index}", b"v", "x")

    threads = [threading.Thread(target=write, args=item) for item in enumerate(stores)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(stores[0].names()) == 15


def test_a_failed_write_leaves_the_old_store(path, monkeypatch):
    store = KeyStore.create(path, SECRET, n=N)
    store.put("a", b"1", "x")

    def power_cut(source, target):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "replace", power_cut)
    with pytest.raises(OSError):
        store.put("b", b"2", "x")
    monkeypatch.undo()
    assert [entry.name for entry in KeyStore.open(path, SECRET).names()] == ["a"]
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["keys.json", "keys.json.lock"]


def test_a_changed_secret_opens_and_the_old_one_no_longer_does(path):
    store = KeyStore.create(path, SECRET, n=N)
    store.put("a", b"1", "x")
    stale = KeyStore.open(path, SECRET)
    store.change_secret(b"new", n=N)
    assert store.get("a") == b"1"
    assert KeyStore.open(path, b"new").get("a") == b"1"
    with pytest.raises(KeyStoreLocked):
        KeyStore.open(path, SECRET)
    with pytest.raises(KeyStoreLocked):
        stale.get("a")


def test_an_open_store_shows_and_pickles_nothing(path):
    store = KeyStore.create(path, SECRET, n=N)
    assert store._key.key.hex() not in repr(store) + repr(store._key)
    with pytest.raises(TypeError):
        pickle.dumps(store)


def test_a_secret_file_is_read_without_its_line_break(tmp_path):
    for content, secret in [
        (b"word\n", b"word"),
        (b"word", b"word"),
        (b"a b\r\n", b"a b"),
        (b"x\n\n", b"x\n"),
    ]:
        path = tmp_path / "secret"
        path.write_bytes(content)
        path.chmod(0o600)
        assert read_secret(path) == secret


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_secret_file_open_to_others_is_refused(tmp_path, mode):
    path = tmp_path / "secret"
    path.write_bytes(b"word")
    path.chmod(mode)
    with pytest.raises(BadInput, match="chmod 600"):
        read_secret(path)


def test_an_empty_missing_or_huge_secret_file_is_refused(tmp_path):
    path = tmp_path / "secret"
    with pytest.raises(BadInput, match="cannot be read"):
        read_secret(path)
    for content in (b"", b"\n", b"x" * 4097):
        path.write_bytes(content)
        path.chmod(0o600)
        with pytest.raises(BadInput, match="4096"):
            read_secret(path)
