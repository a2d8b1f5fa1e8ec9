"""Snapshots: the rows of a dataset version as a mapped Arrow file, so that a job need not read them again.

Reading and committing take microseconds a row; a job may take less. So rows are written to an Arrow IPC file
while they are committed to, and mapped from there: neither takes more memory than a few batches, whatever
the size. A snapshot is used again only if

- it is of the commitment that is asked for,
- the source's content still has the digest it had then (`Source.content_digest`): a swapped file is found
  out as if it were read. A database is read anew each time, for there is no other way to know;
- its own bytes carry the MAC under a key that comes from the version's salt key, which lies sealed.

Whatever fails that is made again. File and note are renamed into place one after the other; a pair that does
not belong together fails the MAC. The newest snapshot of a dataset replaces its older ones, which stay mapped
where a job still uses them.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import hmac
import os
import secrets
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Annotated

import msgspec
import pyarrow as pa
from msgspec import Meta

from compute.data.commitment import Commitment, Committer
from compute.data.source import Source
from compute.disk import typed
from compute.errors import DataError

_TEMPORARY = ".new-"
_KEY = b"liutong/snapshot/v1\x00"
_Digest = Annotated[bytes, Meta(min_length=32, max_length=32)]


class _Note(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What lies beside a snapshot's file."""

    source: _Digest
    mac: _Digest


class Snapshots:
    """A folder (mode 0700) of snapshots. Thread-safe, and safe for several processes.

    ``dataset`` names a dataset by a word of hexadecimal digits.
    """

    def __init__(self, folder: Path) -> None:
        """Make the folder if it is not there; raises DataError if it cannot."""
        self._folder = Path(folder)
        with _typed("the folder of snapshots cannot be made"):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for path in self._folder.glob(f"{_TEMPORARY}*"):
                _remove_abandoned(path)

    def load(self, dataset: str, source: Source, salt_key: bytes, root: bytes) -> pa.Table | None:
        """All rows of the version with this root; None if the source does not hold them any more.

        Raises DataError if the source cannot be read, DiskFull if there is no room for the snapshot.
        """
        before = source.content_digest()
        table = self._open(dataset, root, salt_key, before) if before is not None else None
        if table is not None:
            return table
        commitment, table = self.record(dataset, source, salt_key, root)
        return table if hmac.compare_digest(commitment.root, root) else None

    def record(
        self, dataset: str, source: Source, salt_key: bytes, root: bytes | None = None
    ) -> tuple[Commitment, pa.Table]:
        """Read the source, commit to its rows, and keep their snapshot (``root``: only one of this root).

        The table is mapped from the file, which need not have a name any more. Raises as `load` does.
        """
        before = source.content_digest()
        schema = source.schema()
        committer = Committer(schema, salt_key)
        with _typed(f"the snapshot of {dataset} cannot be kept"), self._temporary() as temporary:
            _write(temporary, schema, source, committer)
            commitment = committer.finish()
            table = _mapped(temporary)
            # A file that changed while it was read has no one content to be known by.
            settled = before is not None and source.content_digest() == before
            if settled and before is not None and root in (None, commitment.root):
                self._keep(dataset, commitment.root, salt_key, before, temporary)
            return commitment, table

    @contextlib.contextmanager
    def _temporary(self) -> Iterator[Path]:
        """A new empty file, gone at the end unless it got a name; its lock tells that somebody writes it."""
        while True:
            path = self._folder / f"{_TEMPORARY}{secrets.token_hex(8)}"
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                # Another process may have come between the two, and taken it for abandoned.
                if os.fstat(descriptor).st_nlink:
                    yield path
                    return
            finally:
                path.unlink(missing_ok=True)
                os.close(descriptor)

    def _open(self, dataset: str, root: bytes, salt_key: bytes, content: bytes) -> pa.Table | None:
        path = self._path(dataset, root)
        try:
            note = msgspec.msgpack.decode(path.with_suffix(".note").read_bytes(), type=_Note)
            if note.source != content:
                return None
            if not hmac.compare_digest(note.mac, _mac(path, root, salt_key, content)):
                return None
            return _mapped(path)
        except (OSError, msgspec.MsgspecError, pa.ArrowException):
            # Whatever is wrong with it, the source has the rows.
            return None

    def _keep(self, dataset: str, root: bytes, salt_key: bytes, content: bytes, made: Path) -> None:
        path = self._path(dataset, root)
        note = _Note(content, _mac(made, root, salt_key, content))
        os.replace(made, path)
        # Not among the temporary files, whose locks tell who lives: it is a note and holds no rows.
        beside = self._folder / f".note-{secrets.token_hex(8)}"
        try:
            _write_bytes(beside, msgspec.msgpack.encode(note))
            os.replace(beside, path.with_suffix(".note"))
        finally:
            beside.unlink(missing_ok=True)
        for other in self._folder.glob(f"{dataset}.*"):
            if other.stem != path.stem:
                other.unlink(missing_ok=True)

    def _path(self, dataset: str, root: bytes) -> Path:
        if not dataset.isalnum():
            raise DataError("a snapshot's dataset is named by letters and digits")
        return self._folder / f"{dataset}.{root.hex()}.arrow"


def commit_source(source: Source, salt_key: bytes) -> Commitment:
    """Commit to what a source holds now, batch by batch; raises DataError if it cannot be read."""
    committer = Committer(source.schema(), salt_key)
    with contextlib.closing(_drawn(source)) as batches:
        for batch in batches:
            committer.add(batch)
    return committer.finish()


def _drawn(source: Source) -> Generator[pa.RecordBatch, None, None]:
    yield from source.batches()


def _write(path: Path, schema: pa.Schema, source: Source, committer: Committer) -> None:
    with path.open("wb") as file:
        with pa.ipc.new_file(file, schema) as writer, contextlib.closing(_drawn(source)) as batches:
            for batch in batches:
                committer.add(batch)
                writer.write_batch(batch)
        file.flush()
        os.fsync(file.fileno())


def _remove_abandoned(path: Path) -> None:
    """Remove what a killed process left half written: rows of a dataset, for nobody's use."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)
    except BlockingIOError:
        return  # its writer lives
    finally:
        os.close(descriptor)


def _write_bytes(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _mapped(path: Path) -> pa.Table:
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()


def _mac(path: Path, root: bytes, salt_key: bytes, content: bytes) -> bytes:
    with path.open("rb") as file:
        rows = hashlib.file_digest(file, "sha256").digest()
    key = hmac.digest(salt_key, _KEY, "sha256")
    return hmac.digest(key, root + content + rows, "sha256")


@contextlib.contextmanager
def _typed(what: str) -> Iterator[None]:
    try:
        with typed(what):
            yield
    except pa.ArrowException as error:
        raise DataError(f"{what}: {type(error).__name__}") from error
