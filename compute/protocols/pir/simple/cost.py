"""Cost of a retrieval job; see `compute.protocols.cost`."""

from __future__ import annotations

from collections.abc import Sequence

from compute.protocols.cost import Cost, array_bytes, message_bytes
from compute.protocols.pir.simple import fuse, linear, records
from compute.protocols.pir.simple.plan import HINT_ROW_BYTES, LOOKUPS_PER_CHANGE, Layout, plan
from compute.protocols.pir.simple.shape import FINGERPRINT_BYTES, Need, SegmentShape, Setup
from compute.protocols.psi.ecdh.cost import answers_bytes, asked_bytes, operations


def cost(
    count: int,
    record_bytes: int,
    queries: int,
    *,
    kind: str = "pir.keyword",
    hint_cached: bool = False,
    database_cached: bool = False,
    changed: int = 0,
) -> Cost:
    """``count`` records of which the longest has ``record_bytes`` bytes of JSON; ``queries`` as padded.

    ``hint_cached``: the client has all hints. ``database_cached``: the server has the database of this
    version. ``changed``: records that are new since the base, which the client has; 0 if there is no base.
    """
    layouts = [_base(count, record_bytes, kind)]
    missing = [] if hint_cached else [layouts[0].data_rows, layouts[0].key_rows]
    if changed:
        layouts.append(plan(changed, records.sealed_bytes(record_bytes), lookups=LOOKUPS_PER_CHANGE))
        if not hint_cached:
            missing = [layouts[0].key_rows, layouts[1].data_rows, layouts[1].key_rows]
    missing = [rows for rows in missing if rows]
    client = message_bytes(Need((bytes(32),) * len(missing))) + asked_bytes(queries, "curve25519")
    server = message_bytes(_setup(layouts)) + answers_bytes(queries, "curve25519")
    server += sum(array_bytes(rows, HINT_ROW_BYTES) for rows in missing)
    for layout in layouts:
        for batch in _batches(queries * layout.split):
            client += array_bytes(batch * layout.columns, 4)
            server += array_bytes(batch * layout.rows, 4)
    made = 0 if database_cached else count
    return Cost(
        {"server": server, "client": client},
        operations(made, queries, "curve25519")
        | {"word_products": sum(_products(layout, queries, made > 0) for layout in layouts)},
    )


def _base(count: int, record_bytes: int, kind: str) -> Layout:
    if kind == "pir.member":
        return plan(count, 0, FINGERPRINT_BYTES)
    return plan(count, records.sealed_bytes(record_bytes), keyed=kind != "pir.row")


def _setup(layouts: Sequence[Layout]) -> Setup:
    """An announcement as long as that of these layouts."""
    shapes = tuple(
        SegmentShape(
            layout.records,
            layout.data_bytes,
            layout.key_bytes,
            layout.keyed,
            layout.stack,
            layout.split,
            bytes(fuse.SEED_BYTES * layout.keyed),
            bytes(fuse.SALT_BYTES * layout.stack * layout.keyed),
            bytes(32 if layout.data_bytes else 0),
            bytes(32),
        )
        for layout in layouts
    )
    return Setup(bytes(32), bytes(32), layouts[0].records, shapes)


def _batches(vectors: int) -> list[int]:
    full, rest = divmod(vectors, linear.BATCH)
    return [linear.BATCH] * full + [rest] * (rest > 0)


def _products(layout: Layout, queries: int, made: bool) -> int:
    """Multiplications modulo 2^32: hint and answers, queries and their recovery."""
    vectors = queries * layout.split
    server = layout.matrix_bytes * (linear.DIMENSION * made + vectors)
    return server + linear.DIMENSION * vectors * (layout.columns + layout.rows)
