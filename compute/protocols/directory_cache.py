"""Cache on disk: a folder of mode 0700 with a file for each entry, which carries length and SHA-256."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
import shutil
import struct
import time
from collections.abc import Iterator
from pathlib import Path

from compute.disk import NO_ROOM, typed
from compute.protocols.whole_files import mapped, octets, replace_file, sweep
from compute.protocols.workspace import Data, checked_name

log = logging.getLogger(__name__)

_MAGIC = b"liutong\x03"
# Magic, length, SHA-256 of name and content; what follows stays aligned for any vector instruction.
_HEADER = struct.Struct(">8sQ32s16x")


class DirectoryCache:
    """A party's cache in a folder, at most ``max_bytes``; what was not used for longest goes first.

    Safe for several threads and processes. An entry is verified when this process first meets it. Whatever
    else lies under an entry's name is removed.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        """Open or make it; raises DataError if it cannot."""
        self._folder, self._max_bytes = Path(folder), max_bytes
        self._verified: set[tuple[str, int, int]] = set()
        with typed("the cache cannot be used"):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._exclusive():
            sweep(self._folder)

    def get(self, name: str) -> memoryview | None:
        """See `Cache.get`. A damaged entry is removed and counts as forgotten."""
        path = self._folder / checked_name(name)
        with typed(f"{name} cannot be read from the cache"):
            try:
                if not path.is_file():
                    _remove(path)
                    return None
                entry = mapped(path)
                status = path.stat()
                os.utime(path, ns=(time.time_ns(), status.st_mtime_ns))
            except FileNotFoundError:
                return None
            known = (name, status.st_ino, status.st_mtime_ns)
            if known not in self._verified:
                if not _is_whole(name, entry):
                    log.warning("the cache's entry %s is damaged: removed", name)
                    path.unlink(missing_ok=True)
                    return None
                self._verified.add(known)
            return entry[_HEADER.size :]

    def put(self, name: str, data: Data) -> None:
        """See `Cache.put`. What is larger than the whole cache is not kept; raises DiskFull if there is no
        room even after all others went."""
        path = self._folder / checked_name(name)
        view = octets(data)
        size = _HEADER.size + len(view)
        if size > self._max_bytes:
            log.warning("%s has %d bytes and the cache %d: not kept", name, size, self._max_bytes)
            return None
        header = _HEADER.pack(_MAGIC, len(view), _digest(name, view))
        with typed(f"{name} cannot be kept in the cache"), self._exclusive():
            _remove(path)
            self._evict(self._max_bytes - size)
            while True:
                try:
                    return replace_file(path, header, view)
                except OSError as error:
                    used = self._used()
                    if error.errno not in NO_ROOM or not used:
                        raise
                    self._evict(used - 1)

    def remove(self, name: str) -> None:
        """See `Cache.remove`."""
        path = self._folder / checked_name(name)
        with typed(f"{name} cannot be removed from the cache"):
            _remove(path)

    def _evict(self, room: int) -> None:
        """Forget entries until at most ``room`` bytes are used."""
        entries = sorted(self._entries(), key=lambda entry: entry[1].st_atime_ns)
        used = sum(status.st_size for _, status in entries)
        for path, status in entries:
            if used <= room:
                return
            _remove(path)
            used -= status.st_size

    def _used(self) -> int:
        return sum(status.st_size for _, status in self._entries())

    def _entries(self) -> Iterator[tuple[Path, os.stat_result]]:
        for path in self._folder.iterdir():
            if not path.name.startswith("."):
                with contextlib.suppress(FileNotFoundError):
                    yield path, path.stat()

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        descriptor = os.open(self._folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _remove(path: Path) -> None:
    """Take away whatever lies there, if anything does."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        if not path.is_dir():
            raise
        shutil.rmtree(path)


def _is_whole(name: str, entry: memoryview) -> bool:
    if len(entry) < _HEADER.size:
        return False
    magic, length, digest = _HEADER.unpack(entry[: _HEADER.size])
    body = entry[_HEADER.size :]
    return bool(magic == _MAGIC and length == len(body) and digest == _digest(name, body))


def _digest(name: str, data: memoryview) -> bytes:
    """Of an entry's content under its name: a file that was put in another's place is as good as damaged."""
    hasher = hashlib.sha256(name.encode() + b"\0")
    hasher.update(data)
    return hasher.digest()
