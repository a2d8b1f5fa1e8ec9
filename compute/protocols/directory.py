"""Workspace and cache on disk: folders of mode 0700 with files of mode 0600.

What is written lies in a temporary file first, is flushed to the disk and then renamed: whoever is killed in
between leaves the old content or none. What is appended (spills) is not flushed, so it counts after a cut
only as far as `Workspace.settle` noted its length. Entries of the cache carry length and SHA-256.

A workspace's folder: ``whole`` and ``spills`` hold what was written and appended, ``aside`` what was replaced
or removed since a mark that still needs it (``<mark>.<place>.<name>``), ``marks`` which names (spills: and
how much of them) there were at the last two marks. All of it carries a CRC-32 that each reading checks: a
disk or a memory that lost a bit must end a job, not change its result. It is no defence against whoever
writes to the folder, who could as well write to the node's program.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import mmap
import os
import re
import secrets
import shutil
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from compute.disk import NO_ROOM, typed
from compute.errors import DataError
from compute.protocols.workspace import RUNNER, Data, checked_name

log = logging.getLogger(__name__)

_TEMPORARY = ".new-"
_MAGIC = b"liutong\x03"
# Magic, length, SHA-256 of name and content; what follows stays aligned for any vector instruction.
_HEADER = struct.Struct(">8sQ32s16x")
# The same for what is written whole to a workspace: magic, length, CRC-32.
_WHOLE_MAGIC = b"liutong\x02"
_WHOLE_HEADER = struct.Struct(">8sQI44x")
_ASIDE = re.compile(r"(\d{1,15})\.(whole|spills)\.(.+)")


class _Noted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What there was at a mark; of each spill its length and CRC-32."""

    whole: frozenset[str] = frozenset()
    spills: dict[str, tuple[int, int]] = {}


class DirectoryWorkspace:
    """A job's workspace in a folder of its own. Thread-safe; one process at a time holds it.

    Views that `read` gave stay valid after the name was replaced or removed, not after `rewind`.
    """

    def __init__(self, folder: Path) -> None:
        """Open or make it, as the last process left it; raises DataError if another one holds it."""
        self._folder = Path(folder)
        self._whole, self._spills, self._aside = (folder / name for name in ("whole", "spills", "aside"))
        self._mutex = threading.RLock()
        with typed("the job's workspace cannot be used"):
            for place in (self._folder, self._whole, self._spills, self._aside):
                place.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise DataError("another process works on this job") from None
            for place in (self._folder, self._whole, self._spills):
                _sweep(place)
            self._marks = self._read_marks()
            # Length and CRC-32 of each spill, as far as this process wrote it or a mark noted it.
            self._sums = dict(self._marks[max(self._marks)].spills)
        except BaseException:
            os.close(self._lock)
            raise

    def close(self) -> None:
        """Let another process have it. Safe to repeat."""
        with self._mutex:
            if self._lock >= 0:
                os.close(self._lock)
                self._lock = -1

    def write(self, name: str, data: Data) -> None:
        """See `Workspace.write`; raises DiskFull."""
        path = self._whole / checked_name(name)
        with self._mutex, typed(f"{name} cannot be kept"):
            temporary = _written(path, _whole_header(data), data)
            try:
                # Between the two a cut leaves nothing under the name; then rewinding brings the old one back.
                self._put_aside(name)
                os.replace(temporary, path)
            finally:
                temporary.unlink(missing_ok=True)
            _sync_folder(self._whole)

    def append(self, name: str, data: Data) -> None:
        """See `Workspace.append`; raises DiskFull, and then nothing was added."""
        path = self._spills / checked_name(name)
        with self._mutex, typed(f"{name} cannot be kept"):
            if (self._whole / name).exists():
                # What was written whole becomes the beginning of a spill.
                content = _opened(_mapped(self._whole / name), name)
                begun = _written(path, content)
                try:
                    self._put_aside(name)
                    os.replace(begun, path)
                    self._sums[name] = len(content), zlib.crc32(content)
                finally:
                    begun.unlink(missing_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                before, crc = self._sums.get(name, (0, 0))
                # What a cut left behind the last mark was never read, and is not kept.
                os.ftruncate(descriptor, before)
                try:
                    _write_all(descriptor, data)
                except OSError:
                    os.ftruncate(descriptor, before)
                    raise
                added = _octets(data)
                self._sums[name] = before + len(added), zlib.crc32(added, crc)
            finally:
                os.close(descriptor)

    def read(self, name: str) -> memoryview:
        """See `Workspace.read`; a map of the file."""
        checked_name(name)
        with typed(f"{name} cannot be read"):
            with self._mutex:
                whole = _mapped_if_there(self._whole / name)
                spill = None if whole is not None else _mapped_if_there(self._spills / name)
                length, crc = self._sums.get(name, (0, 0))
            # Outside the lock: others need not wait while a large file is read.
            if whole is not None:
                return _opened(whole, name)
            if spill is None:
                raise DataError(f"there is no {name} in this job's workspace")
            if len(spill) < length or zlib.crc32(spill[:length]) != crc:
                raise _damaged(name)
            return spill[:length]

    def remove(self, name: str) -> None:
        """See `Workspace.remove`."""
        checked_name(name)
        with self._mutex, typed(f"{name} cannot be removed"):
            self._put_aside(name)

    def names(self) -> tuple[str, ...]:
        """See `Workspace.names`."""
        with self._mutex, typed("the job's workspace cannot be read"):
            return tuple(sorted({*_files(self._whole), *_files(self._spills)}))

    def settle(self, mark: int) -> None:
        """See `Workspace.settle`."""
        with self._mutex, typed("the job's workspace cannot be kept"):
            last = max(self._marks)
            if mark <= last:
                raise DataError(f"mark {mark} does not follow {last}")
            noted = _Noted(
                frozenset(name for name in _files(self._whole) if not name.startswith(RUNNER)),
                {name: self._synced(name) for name in _files(self._spills)},
            )
            _sync_folder(self._spills)
            self._note({last: self._marks[last], mark: noted})
            for path, earlier, _, _ in self._set_aside():
                if earlier < last:
                    path.unlink()

    def rewind(self, mark: int) -> None:
        """See `Workspace.rewind`. May be cut and repeated."""
        with self._mutex, typed("the job's workspace cannot be put back"):
            noted = _Noted() if mark == 0 else self._marks.get(mark)
            if noted is None:
                raise DataError(f"the job's workspace does not know mark {mark}")
            # The oldest comes last and stays: it is what there was at the mark.
            for path, later, place, name in sorted(self._set_aside(), key=lambda entry: -entry[1]):
                if later >= mark and mark > 0:
                    os.replace(path, place / name)
                else:
                    path.unlink()
            for name in _files(self._whole):
                if name not in noted.whole and not name.startswith(RUNNER):
                    (self._whole / name).unlink()
            for name in _files(self._spills):
                if name in noted.spills:
                    # Cutting a file to more than it has would fill it up with zeros.
                    length, _ = noted.spills[name]
                    if (self._spills / name).stat().st_size < length:
                        raise DataError(f"{name} in the job's workspace is damaged: a part of it is missing")
                    os.truncate(self._spills / name, length)
                else:
                    (self._spills / name).unlink()
            self._note({mark: noted})
            self._sums = dict(noted.spills)
            if not (
                noted.whole <= set(_files(self._whole)) and noted.spills.keys() <= set(_files(self._spills))
            ):
                raise DataError("files of the job's workspace are missing")

    def _put_aside(self, name: str) -> None:
        """Take a name away, for the last mark if it had it; a file made since is of no further use."""
        last = max(self._marks)
        noted = self._marks[last]
        for place, needed in ((self._whole, name in noted.whole), (self._spills, name in noted.spills)):
            path, kept = place / name, self._aside / f"{last}.{place.name}.{name}"
            if needed and path.exists() and not kept.exists():
                os.replace(path, kept)
            else:
                path.unlink(missing_ok=True)
        self._sums.pop(name, None)

    def _synced(self, name: str) -> tuple[int, int]:
        """Flush a spill to the disk; its length and CRC-32."""
        length, crc = self._sums.get(name, (0, 0))
        if _sync_file(self._spills / name) < length:
            raise _damaged(name)
        return length, crc

    def _set_aside(self) -> list[tuple[Path, int, Path, str]]:
        found = []
        for entry in _files(self._aside):
            # What somebody else put there is nobody's.
            if named := _ASIDE.fullmatch(entry):
                found.append((self._aside / entry, int(named[1]), self._folder / named[2], named[3]))
        return found

    def _note(self, marks: dict[int, _Noted]) -> None:
        if marks.keys() != self._marks.keys() or max(marks):
            written = msgspec.json.encode(marks)
            _replace(self._folder / "marks", _whole_header(written), written)
        self._marks = marks

    def _read_marks(self) -> dict[int, _Noted]:
        name = "the note on the job's marks"
        try:
            with typed(f"{name} cannot be read"):
                written = _mapped_if_there(self._folder / "marks")
            if written is None:
                return {0: _Noted()}
            marks = msgspec.json.decode(_opened(written, name), type=dict[int, _Noted])
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise DataError("the note on the job's marks is damaged") from error
        if not marks:
            raise DataError("the note on the job's marks is damaged")
        return marks


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
            _sweep(self._folder)

    def get(self, name: str) -> memoryview | None:
        """See `Cache.get`. A damaged entry is removed and counts as forgotten."""
        path = self._folder / checked_name(name)
        with typed(f"{name} cannot be read from the cache"):
            try:
                if not path.is_file():
                    _remove(path)
                    return None
                entry = _mapped(path)
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
        view = _octets(data)
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
                    return _replace(path, header, view)
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


def _whole_header(data: Data) -> bytes:
    view = _octets(data)
    return _WHOLE_HEADER.pack(_WHOLE_MAGIC, len(view), zlib.crc32(view))


def _opened(written: memoryview, name: str) -> memoryview:
    """What was written whole; raises DataError if it is not what was written."""
    if len(written) >= _WHOLE_HEADER.size:
        body = written[_WHOLE_HEADER.size :]
        if _whole_header(body) == written[: _WHOLE_HEADER.size]:
            return body
    raise _damaged(name)


def _damaged(name: str) -> DataError:
    return DataError(f"{name} in the job's workspace is damaged: run the job again, and check the disk")


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


def _mapped(path: Path) -> memoryview:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if os.fstat(descriptor).st_size == 0:
            return memoryview(b"")
        return memoryview(mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ))
    finally:
        os.close(descriptor)


def _mapped_if_there(path: Path) -> memoryview | None:
    try:
        return _mapped(path)
    except FileNotFoundError:
        return None


def _replace(path: Path, *parts: Data) -> None:
    temporary = _written(path, *parts)
    try:
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _written(path: Path, *parts: Data) -> Path:
    """A temporary file beside ``path`` with all of the parts, on disk; or none."""
    temporary = path.with_name(f"{_TEMPORARY}{secrets.token_hex(8)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            for part in parts:
                _write_all(descriptor, part)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def _sync_file(path: Path) -> int:
    """Flush a file to the disk; its length."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
        return os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)


def _files(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder) if not name.startswith(_TEMPORARY)]


def _write_all(descriptor: int, data: Data) -> None:
    left = _octets(data)
    while left:
        # The kernel takes at most 2 GiB at once.
        left = left[os.write(descriptor, left) :]


def _octets(data: Data) -> memoryview:
    view = memoryview(data)
    # An array without rows cannot be cast.
    return view.cast("B") if view.nbytes else memoryview(b"")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sweep(folder: Path) -> None:
    """Remove temporary files of a killed process; the caller holds the folder's lock."""
    for path in folder.glob(f"{_TEMPORARY}*"):
        path.unlink(missing_ok=True)
