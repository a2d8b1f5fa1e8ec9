"""From a table to the database of its version: kept from the last job, built on a base, or built anew."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from accel import sm3
from compute.errors import CohortTooSmall
from compute.protocols.keyset import key_set
from compute.protocols.pir.simple import fuse, linear, records
from compute.protocols.pir.simple.cached import Base, Database, Store
from compute.protocols.pir.simple.linear import U8
from compute.protocols.pir.simple.plan import LOOKUPS_PER_CHANGE, Layout, plan
from compute.protocols.pir.simple.segments import Deriver, Half, Placed, Segment, arrange, half, masks, matrix
from compute.protocols.pir.simple.shape import (
    FINGERPRINT_BYTES,
    AnyParams,
    MemberParams,
    RowParams,
    SegmentShape,
    function,
    lineage,
    matrix_seed,
    row_label,
)
from compute.protocols.protocol import Part, Progress, Session
from compute.protocols.psi.ecdh.curves import GROUPS
from compute.protocols.psi.ecdh.oprf import evaluate
from compute.protocols.workspace import MemoryCache

I64 = npt.NDArray[np.int64]
_NO_DATA = Half(np.zeros((0, 1), np.uint8), np.zeros((0, linear.DIMENSION), np.uint32))


class Version:
    """The secrets of one version of one database, and the names that both sides know it by."""

    def __init__(self, session: Session) -> None:
        self.lineage = lineage(session)
        part = next(part for part in session.spec.participants if part.role == "server")
        # Without a secret of the version everything serves this job alone, and nothing can be kept.
        self.kept = bool(session.version_secret)
        secret = session.version_secret or session.rng(32)
        self.derive = Deriver(secret, self.lineage + str(part.commitment).encode())
        self.number = self.derive("public name", 32)
        self.function = function(self.lineage)
        group = GROUPS[self.function.curve]
        self.scalar = group.scalar_from(self.derive("oblivious function", 48))
        self.store = Store(session.cache if self.kept else MemoryCache(), self.lineage)

    def evaluate(self, labels: U8) -> U8:
        """The oblivious function of labels that are known, (n, 32)."""
        return evaluate(self.function, labels, self.scalar)


def database(session: Session, version: Version, table: pa.Table) -> Part[tuple[Database, bool]]:
    """The database of the session's version, and whether it was there already.

    Raises CohortTooSmall below the floor, BadInput for a record that is too long.
    """
    found = version.store.load(version.number)
    if found is not None:
        _check_floor(found.records, session.min_cohort)
        return found, True
    yield Progress("pir.encode", 0, table.num_rows)
    source = _read(session, table)
    yield Progress("pir.encode", table.num_rows, table.num_rows)
    if source.records is None:
        built = yield from _members(version, source)
        version.store.keep(built, None)
        return built, False
    base = version.store.load_base()
    change = None if base is None else _change(base, source)
    if base is not None and change is not None:
        built = yield from _standing_on(version, base, source, change)
        version.store.keep(built, base)
        return built, False
    built, fresh = yield from _anew(version, source, source.records)
    version.store.keep(built, None)
    version.store.keep_base(fresh)
    return built, False


@dataclass(frozen=True, repr=False)  # holds records: keep it out of logs
class _Source:
    """What a table gives: labels (n, 32), and the records unless only membership is asked."""

    labels: U8
    records: records.Records | None
    keyed: bool


def _read(session: Session, table: pa.Table) -> _Source:
    params: AnyParams = session.params
    if isinstance(params, RowParams):
        _check_floor(table.num_rows, session.min_cohort)
        labels = np.frombuffer(b"".join(map(row_label, range(table.num_rows))), np.uint8).reshape(-1, 32)
        rows = np.arange(table.num_rows, dtype=np.int64)
        offsets = np.arange(table.num_rows + 1, dtype=np.int64)
        return _Source(
            labels, records.encode(table, params.columns, rows, offsets, params.max_record_bytes), False
        )
    keys = key_set(table, params.key, params.normalise)
    _check_floor(len(keys), session.min_cohort)
    if isinstance(params, MemberParams):
        return _Source(keys.digests, None, True)
    encoded = records.encode(table, params.columns, keys.rows, keys.offsets, params.max_record_bytes)
    return _Source(keys.digests, encoded, True)


def _check_floor(count: int, min_cohort: int) -> None:
    floor = max(1, min_cohort)
    if count < floor:
        raise CohortTooSmall(f"the table has {count} records, fewer than the floor of {floor}", floor=floor)


def _members(version: Version, source: _Source) -> Part[Database]:
    """Fingerprints instead of records."""
    layout = plan(len(source.labels), 0, FINGERPRINT_BYTES)
    placed = arrange(layout, source.labels, version.derive)
    values = masks(version.evaluate(source.labels), version.number, FINGERPRINT_BYTES)
    cells = matrix(values, layout, placed, "fingerprints", version.derive)
    keys = yield from half(cells, matrix_seed(version.lineage, 0))
    return Database(version.number, len(source.labels), (_segment(layout, placed, _NO_DATA, keys),))


def _anew(version: Version, source: _Source, content: records.Records) -> Part[tuple[Database, Base]]:
    layout = plan(len(source.labels), records.TAG_BYTES + content.size(), keyed=source.keyed)
    root = version.derive("records", 32)
    segment = yield from _sealed(version, source.labels, content, layout, root, 0)
    base = Base(version.number, root, segment, source.labels, content.digests())
    return Database(version.number, len(source.labels), (segment,)), base


def _sealed(
    version: Version, labels: U8, content: records.Records, layout: Layout, root: bytes, number: int
) -> Part[Segment]:
    """A segment of records, all of them new."""
    derive = lambda purpose, length: version.derive(f"{number} {purpose}", length)  # noqa: E731
    placed = arrange(layout, labels, derive)
    own = _record_keys(root, labels)
    sealed = content.seal(layout.data_bytes - records.TAG_BYTES, own)
    seed = matrix_seed(version.lineage, number)
    data = yield from half(matrix(sealed, layout, placed, "data", derive), seed)
    masked = own - masks(version.evaluate(labels), version.number, records.KEY_BYTES)
    keys = yield from half(matrix(masked, layout, placed, "keys", derive), seed)
    return _segment(layout, placed, data, keys)


@dataclass(frozen=True, repr=False)
class _Change:
    """What differs from a base: which of its records stand (bool per base record), which of ours are new."""

    standing: npt.NDArray[np.bool_]
    new: I64
    layout: Layout | None  # of the new ones; None if there are none


def _change(base: Base, source: _Source) -> _Change | None:
    """The difference, or None if it costs a client that has the base's hint more than half of a new one.

    Its cost is what is downloaded, and what the second segment adds to a few lookups.
    """
    assert source.records is not None
    order, place, found = _match(base.labels, source.labels)
    same = found.copy()
    same[found] = (base.contents[order[place[found]]] == source.records.digests()[found]).all(axis=1)
    standing = np.zeros(len(base.labels), np.bool_)
    standing[order[place[same]]] = True
    new = np.flatnonzero(~same)
    layout = None
    if new.size:
        size = records.TAG_BYTES + source.records.take(new).size()
        layout = plan(len(new), size, keyed=True, lookups=LOOKUPS_PER_CHANGE)
    whole = plan(len(source.labels), records.TAG_BYTES + source.records.size(), keyed=source.keyed)
    added = base.segment.keys.hint.nbytes
    if layout is not None:
        added += layout.hint_bytes + LOOKUPS_PER_CHANGE * layout.lookup_bytes
    return _Change(standing, new, layout) if 2 * added <= whole.hint_bytes else None


def _match(ours: U8, theirs: U8) -> tuple[I64, I64, npt.NDArray[np.bool_]]:
    """A sorted order of ``ours``, where in it each of ``theirs`` would be, and whether it is there."""
    mine, wanted = (np.ascontiguousarray(rows).view("S32").reshape(-1) for rows in (ours, theirs))
    order = np.argsort(mine)
    place = np.minimum(np.searchsorted(mine, wanted, sorter=order), len(mine) - 1)
    return order, place, mine[order[place]] == wanted


def _standing_on(version: Version, base: Base, source: _Source, change: _Change) -> Part[Database]:
    """The base with the keys of this version, and what changed as a segment of its own."""
    assert source.records is not None
    shape = base.segment.shape
    # The map is that of the base version: its seeds are public, its order is found again.
    placed = _again(base)
    masked = np.frombuffer(version.derive("gone", len(base.labels) * records.KEY_BYTES), np.uint8)
    masked = masked.reshape(-1, records.KEY_BYTES).copy()
    standing = base.labels[change.standing]
    own = _record_keys(base.root, standing)
    masked[change.standing] = own - masks(version.evaluate(standing), version.number, records.KEY_BYTES)
    rows = matrix(masked, shape.layout, placed, "keys on the base", version.derive)
    keys = yield from half(rows, matrix_seed(version.lineage, 0))
    segments = [_segment(shape.layout, placed, base.segment.data, keys)]
    if change.layout is not None:
        content = source.records.take(change.new)
        labels = source.labels[change.new]
        root = version.derive("new records", 32)
        segments.append((yield from _sealed(version, labels, content, change.layout, root, 1)))
    return Database(version.number, len(source.labels), tuple(segments))


def _again(base: Base) -> Placed:
    shape = base.segment.shape
    if not shape.keyed:
        return None
    return fuse.solve(base.labels, shape.filter_seed, shape.salts, shape.stack)


def _segment(layout: Layout, placed: Placed, data: Half, keys: Half) -> Segment:
    shape = SegmentShape(
        records=layout.records,
        data_bytes=layout.data_bytes,
        key_bytes=layout.key_bytes,
        keyed=layout.keyed,
        stack=layout.stack,
        split=layout.split,
        filter_seed=placed.seed if placed else b"",
        salts=placed.salts if placed else b"",
        data_digest=data.digest,
        key_digest=keys.digest,
    )
    return Segment(shape, data, keys)


def _record_keys(root: bytes, labels: U8) -> U8:
    """The key of each record: of this content, under this label; (n, 16)."""
    return np.ascontiguousarray(sm3.hmac_many(root, labels)[:, : records.KEY_BYTES])
