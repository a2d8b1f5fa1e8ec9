"""What a server keeps between jobs, in `Session.cache`: a version's database, and the base it stands on.

Names hold the version, which depends on everything the bytes depend on. Whatever is missing, of a wrong size,
or a hint that is not the one of its shape counts as not there, and the whole is made again; it comes out the
same, so clients' hints stay good. That the bytes under a name are those that were put there is the cache's
part: on disk it compares SHA-256 of name and content when a process first meets an entry.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import msgspec
import numpy as np

from compute.protocols.pir.simple.linear import U8, U32
from compute.protocols.pir.simple.plan import HINT_ROW_BYTES
from compute.protocols.pir.simple.segments import Half, Segment
from compute.protocols.pir.simple.shape import SegmentShape
from compute.protocols.workspace import Cache

T = TypeVar("T")


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A version: its segments, and under which names their halves lie."""

    records: int
    segments: tuple[SegmentShape, ...]
    data_names: tuple[str, ...]
    key_names: tuple[str, ...]


class _BaseEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: bytes
    root: bytes


@dataclass(frozen=True, repr=False)
class Database:
    """All segments of one version; ``records`` is how many there are now."""

    version: bytes
    records: int
    segments: tuple[Segment, ...]


@dataclass(frozen=True, repr=False)
class Base:
    """A full segment that later versions may stand on, and what it was made of.

    ``root`` is the secret that its record keys come from; ``labels`` and ``contents`` (n, 32) are digests.
    """

    version: bytes
    root: bytes
    segment: Segment
    labels: U8
    contents: U8


class Store:
    """The part of a cache that belongs to one lineage of databases."""

    def __init__(self, cache: Cache, lineage: bytes) -> None:
        self._cache = cache
        self._base = f"pir-base-{lineage.hex()}"

    def load(self, version: bytes) -> Database | None:
        """The database of a version, mapped where the cache can."""
        entry = self._entry(version)
        if entry is None or not len(entry.segments) == len(entry.data_names) == len(entry.key_names):
            return None
        segments = []
        for shape, data_name, key_name in zip(entry.segments, entry.data_names, entry.key_names, strict=True):
            layout = shape.layout
            if not layout.valid():
                return None
            data = self._half(data_name, layout.data_rows, layout.columns)
            keys = self._half(key_name, layout.key_rows, layout.columns)
            if data is None or keys is None:
                return None
            if (data.digest, keys.digest) != (shape.data_digest, shape.key_digest):
                return None
            segments.append(Segment(shape, data, keys))
        return Database(version, entry.records, tuple(segments))

    def keep(self, database: Database, base: Base | None) -> None:
        """Keep a database whose first segment's data lie with ``base`` already, if that is given."""
        version = database.version.hex()
        data_names, key_names = [], []
        for number, segment in enumerate(database.segments):
            data_name, key_name = f"pir-{version}-{number}-data", f"pir-{version}-{number}-keys"
            if base is not None and number == 0:
                data_name = f"pir-{base.version.hex()}-0-data"
            else:
                self._put(data_name, segment.data)
            self._put(key_name, segment.keys)
            data_names.append(data_name)
            key_names.append(key_name)
        shapes = tuple(segment.shape for segment in database.segments)
        entry = _Entry(database.records, shapes, tuple(data_names), tuple(key_names))
        self._cache.put(f"pir-{version}", msgspec.msgpack.encode(entry))

    def load_base(self) -> Base | None:
        """The newest full segment of this lineage, with all that is needed to stand on it."""
        view = self._cache.get(self._base)
        if view is None:
            return None
        entry = _decoded(view, _BaseEntry)
        database = None if entry is None else self.load(entry.version)
        if entry is None or database is None:
            return None
        segment = database.segments[0]
        labels = self._rows(f"pir-{entry.version.hex()}-labels", segment.shape.records)
        contents = self._rows(f"pir-{entry.version.hex()}-contents", segment.shape.records)
        if labels is None or contents is None:
            return None
        return Base(entry.version, entry.root, segment, labels, contents)

    def keep_base(self, base: Base) -> None:
        """Make a segment, kept already, the one that later versions stand on."""
        name = base.version.hex()
        self._cache.put(f"pir-{name}-labels", _bytes(base.labels))
        self._cache.put(f"pir-{name}-contents", _bytes(base.contents))
        self._cache.put(self._base, msgspec.msgpack.encode(_BaseEntry(base.version, base.root)))

    def _entry(self, version: bytes) -> _Entry | None:
        view = self._cache.get(f"pir-{version.hex()}")
        return None if view is None else _decoded(view, _Entry)

    def _put(self, name: str, half: Half) -> None:
        self._cache.put(f"{name}-matrix", _bytes(half.matrix))
        self._cache.put(f"{name}-hint", _bytes(half.hint))

    def _half(self, name: str, rows: int, columns: int) -> Half | None:
        stored, hint = self._cache.get(f"{name}-matrix"), self._cache.get(f"{name}-hint")
        if stored is None or hint is None:
            return None
        if len(stored) != rows * columns or len(hint) != rows * HINT_ROW_BYTES:
            return None
        matrix = np.frombuffer(stored, np.uint8).reshape(rows, columns)
        return Half(matrix, np.frombuffer(hint, "<u4").reshape(rows, -1 if rows else HINT_ROW_BYTES // 4))

    def _rows(self, name: str, count: int) -> U8 | None:
        view = self._cache.get(name)
        if view is None or len(view) != 32 * count:
            return None
        return np.frombuffer(view, np.uint8).reshape(count, 32)


def _decoded(view: memoryview, kind: type[T]) -> T | None:
    try:
        return msgspec.msgpack.decode(view, type=kind)
    except msgspec.MsgspecError:
        return None


def _bytes(rows: U8 | U32) -> memoryview | bytes:
    return np.ascontiguousarray(rows).data.cast("B") if rows.size else b""
