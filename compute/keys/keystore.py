"""A party's sealed key store: named secrets in one file, under a passphrase or a key file.

The whole content is one sealed body (`compute.keys.sealed_file`): names and kinds do not show. Each change
rewrites the file atomically under a lock file, after reading it again, so a command line beside a running
node loses nothing and a power cut leaves the old file or the new one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from compute.errors import BadInput, KeyStoreLocked
from compute.keys import sealed_file
from compute.keys.sealed_file import CipherName, FileKey

_Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,199}$(?!\n)")]
_MAX_VALUE_BYTES = 1 << 20


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    kind: Annotated[str, Meta(min_length=1, max_length=40)]
    value: Annotated[bytes, Meta(max_length=_MAX_VALUE_BYTES)]


@dataclass(frozen=True)
class KeyName:
    """What a store says about an entry without giving it out."""

    name: str
    kind: str


class KeyStore:
    """An open store. Thread-safe; several processes may hold one. Holds secrets: no repr of its own."""

    def __init__(self, path: Path, key: FileKey) -> None:
        self._path = path
        self._key = key
        self._lock = threading.RLock()

    @classmethod
    def create(
        cls,
        path: Path,
        secret: bytes,
        *,
        cipher: CipherName = "aes-256-gcm",
        n: int = sealed_file.DEFAULT_N,
    ) -> KeyStore:
        """A new, empty store, readable by its owner only; raises BadInput if something is there already.

        ``secret`` is a passphrase or the content of a key file (`read_secret`). ``n`` is scrypt's cost.
        """
        path = Path(path)
        store = cls(path, sealed_file.new_key(secret, cipher, n))
        with store._exclusive():
            if path.exists():
                raise BadInput(f"{path} exists: a key store is never overwritten")
            store._write({})
        return store

    @classmethod
    def open(cls, path: Path, secret: bytes) -> KeyStore:
        """Open an existing store; raises KeyStoreLocked, without saying why, unless all is well."""
        path = Path(path)
        key, plaintext = sealed_file.unseal(secret, _read(path))
        _decode(plaintext)
        return cls(path, key)

    def names(self) -> tuple[KeyName, ...]:
        """Names and kinds of all entries, sorted by name."""
        return tuple(KeyName(name, entry.kind) for name, entry in sorted(self._read().items()))

    def get(self, name: str, kind: str | None = None) -> bytes:
        """The secret under a name; raises BadInput if there is none, or none of this kind."""
        entry = self._read().get(name)
        if entry is None or kind not in (None, entry.kind):
            raise BadInput(f"the key store holds no {kind or 'entry'} named {name!r}")
        return entry.value

    def put(self, name: str, value: bytes, kind: str) -> None:
        """Add a secret; on disk when this returns. Raises BadInput for a name that is taken or not a name."""
        entry = _checked(name, value, kind)
        with self._exclusive():
            entries = self._read()
            if name in entries:
                raise BadInput(f"the key store already holds {name!r}: a key is never overwritten")
            self._write(entries | {name: entry})

    def delete(self, name: str) -> None:
        """Forget a secret. Copies in backups stay. Raises BadInput if there is none under this name."""
        with self._exclusive():
            entries = self._read()
            if entries.pop(name, None) is None:
                raise BadInput(f"the key store holds no entry named {name!r}")
            self._write(entries)

    def change_secret(self, secret: bytes, *, n: int = sealed_file.DEFAULT_N) -> None:
        """Seal the store under another passphrase or key file. Other processes must open it again."""
        with self._exclusive():
            entries = self._read()
            self._key = sealed_file.new_key(secret, self._key.cipher, n)
            self._write(entries)

    def __reduce__(self) -> str:
        raise TypeError("a key store does not leave its process")

    def _read(self) -> dict[str, _Entry]:
        with self._lock:
            return _decode(sealed_file.unseal_again(self._key, _read(self._path)))

    def _write(self, entries: dict[str, _Entry]) -> None:
        data = sealed_file.seal(self._key, msgspec.msgpack.encode(entries))
        if len(data) > sealed_file.MAX_FILE_BYTES:
            raise BadInput(f"a key store holds at most {sealed_file.MAX_FILE_BYTES} bytes")
        _replace(self._path, data)

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        with self._lock:
            try:
                descriptor = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except OSError as error:
                raise BadInput(f"the folder of {self._path} cannot be written: {error.strerror}") from error
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                yield
            finally:
                os.close(descriptor)


def read_secret(path: Path) -> bytes:
    """A passphrase or key from a file: its bytes without one trailing line break.

    Raises BadInput if the file is missing, empty, over 4096 bytes, or readable by group or others.
    """
    path = Path(path)
    try:
        mode = path.stat().st_mode
        data = path.read_bytes()
    except OSError as error:
        raise BadInput(f"the secret file {path} cannot be read: {error.strerror}") from error
    if mode & 0o077:
        raise BadInput(f"the secret file {path} is open to other users: chmod 600 it")
    data = data.removesuffix(b"\n").removesuffix(b"\r")
    if not 0 < len(data) <= 4096:
        raise BadInput(f"the secret file {path} must hold 1 to 4096 bytes")
    return data


def _checked(name: str, value: bytes, kind: str) -> _Entry:
    try:
        msgspec.convert(name, type=_Name)
        return msgspec.convert({"kind": kind, "value": bytes(value)}, type=_Entry)
    except msgspec.ValidationError as error:
        raise BadInput(f"not a name, kind or value for the key store: {error}") from None


def _decode(plaintext: bytes) -> dict[str, _Entry]:
    try:
        return msgspec.msgpack.decode(plaintext, type=dict[_Name, _Entry])
    except msgspec.MsgspecError:
        raise sealed_file.locked() from None


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            # One byte more than allowed is enough to refuse it.
            return file.read(sealed_file.MAX_FILE_BYTES + 1)
    except OSError as error:
        raise KeyStoreLocked(f"the key store {path} cannot be read: {error.strerror}") from error


def _replace(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
