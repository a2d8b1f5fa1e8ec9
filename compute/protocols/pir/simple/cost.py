"""Cost of a retrieval job; see `compute.protocols.cost`."""

from __future__ import annotations

from accel import lwe
from compute.protocols.cost import Cost, array_bytes, message_bytes
from compute.protocols.pir.simple import fuse, linear, records
from compute.protocols.pir.simple.shape import Setup


def cost(count: int, record_bytes: int, queries: int, *, keyword: bool) -> Cost:
    """``count`` records of which the longest has ``record_bytes`` bytes of JSON."""
    width = records.padded_bytes([bytes(record_bytes)]) + records.TAG_BYTES
    columns = fuse.layout(count).slots if keyword else count
    setup = Setup(count, columns, width, bytes(fuse.SEED_BYTES if keyword else 0), bytes(32))
    server = (
        message_bytes(setup)
        + array_bytes(width, linear.HINT_ROW_BYTES)
        + array_bytes(queries, 32)
        + queries * array_bytes(width, 4)
    )
    client = array_bytes(queries, 32) + queries * array_bytes(columns, 4)
    products = columns * width * (lwe.LWE_DIMENSION + queries)
    return Cost(
        {"server": server, "client": client},
        {
            "hash_to_curve": count + queries,
            "scalar_mult": count + 3 * queries,
            "word_products": products + queries * lwe.LWE_DIMENSION * (columns + width),
        },
    )
