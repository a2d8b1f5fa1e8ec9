"""Workspace on disk: folders of mode 0700 with files of mode 0600.

What is written is there whole or not at all (`whole_files`). What is appended (spills) is not flushed, so it
counts after a cut only as far as `Workspace.settle` noted its length.

A workspace's folder: ``whole`` and ``spills`` hold what was written and appended, ``aside`` what was replaced
or removed since a mark that still needs it (``<mark>.<place>.<name>``), ``marks`` which names (spills: and
how much of them) there were at the last two marks. All of it carries a CRC-32 that each reading checks: a
disk or a memory that lost a bit must end a job, not change its result. It is no defence against whoever
writes to the folder, who could as well write to the node's program.
"""

from __future__ import annotations

import fcntl
import os
import re
import struct
import threading
import zlib
from pathlib import Path

import msgspec

from compute.disk import typed
from compute.errors import DataError
from compute.protocols.whole_files import (
    mapped,
    mapped_if_there,
    names_in,
    octets,
    replace_file,
    sweep,
    sync_file,
    sync_folder,
    write_all,
    write_beside,
)
from compute.protocols.workspace import RUNNER, Data, checked_name

_WHOLE_MAGIC = b"liutong\x02"
# Before what is written whole: magic, length, CRC-32; what follows stays aligned for any vector instruction.
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
                sweep(place)
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
            temporary = write_beside(path, _whole_header(data), data)
            try:
                # Between the two a cut leaves nothing under the name; then rewinding brings the old one back.
                self._put_aside(name)
                os.replace(temporary, path)
            finally:
                temporary.unlink(missing_ok=True)
            sync_folder(self._whole)

    def append(self, name: str, data: Data) -> None:
        """See `Workspace.append`; raises DiskFull, and then nothing was added."""
        path = self._spills / checked_name(name)
        with self._mutex, typed(f"{name} cannot be kept"):
            if (self._whole / name).exists():
                # What was written whole becomes the beginning of a spill.
                content = _opened(mapped(self._whole / name), name)
                begun = write_beside(path, content)
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
                    write_all(descriptor, data)
                except OSError:
                    os.ftruncate(descriptor, before)
                    raise
                added = octets(data)
                self._sums[name] = before + len(added), zlib.crc32(added, crc)
            finally:
                os.close(descriptor)

    def read(self, name: str) -> memoryview:
        """See `Workspace.read`; a map of the file."""
        checked_name(name)
        with typed(f"{name} cannot be read"):
            with self._mutex:
                whole = mapped_if_there(self._whole / name)
                spill = None if whole is not None else mapped_if_there(self._spills / name)
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
            return tuple(sorted({*names_in(self._whole), *names_in(self._spills)}))

    def settle(self, mark: int) -> None:
        """See `Workspace.settle`."""
        with self._mutex, typed("the job's workspace cannot be kept"):
            last = max(self._marks)
            if mark <= last:
                raise DataError(f"mark {mark} does not follow {last}")
            noted = _Noted(
                frozenset(name for name in names_in(self._whole) if not name.startswith(RUNNER)),
                {name: self._synced(name) for name in names_in(self._spills)},
            )
            sync_folder(self._spills)
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
            for name in names_in(self._whole):
                if name not in noted.whole and not name.startswith(RUNNER):
                    (self._whole / name).unlink()
            for name in names_in(self._spills):
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
                noted.whole <= set(names_in(self._whole))
                and noted.spills.keys() <= set(names_in(self._spills))
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
        if sync_file(self._spills / name) < length:
            raise _damaged(name)
        return length, crc

    def _set_aside(self) -> list[tuple[Path, int, Path, str]]:
        found = []
        for entry in names_in(self._aside):
            # What somebody else put there is nobody's.
            if named := _ASIDE.fullmatch(entry):
                found.append((self._aside / entry, int(named[1]), self._folder / named[2], named[3]))
        return found

    def _note(self, marks: dict[int, _Noted]) -> None:
        if marks.keys() != self._marks.keys() or max(marks):
            written = msgspec.json.encode(marks)
            replace_file(self._folder / "marks", _whole_header(written), written)
        self._marks = marks

    def _read_marks(self) -> dict[int, _Noted]:
        name = "the note on the job's marks"
        try:
            with typed(f"{name} cannot be read"):
                written = mapped_if_there(self._folder / "marks")
            if written is None:
                return {0: _Noted()}
            marks = msgspec.json.decode(_opened(written, name), type=dict[int, _Noted])
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise DataError("the note on the job's marks is damaged") from error
        if not marks:
            raise DataError("the note on the job's marks is damaged")
        return marks


def _whole_header(data: Data) -> bytes:
    view = octets(data)
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
