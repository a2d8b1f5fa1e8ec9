"""What a client believes of a server's announcement before it allocates a byte for it."""

from __future__ import annotations

from compute.errors import BadInput, ProtocolAbort
from compute.protocols.pir.simple import fuse, linear, records
from compute.protocols.pir.simple.shape import (
    FINGERPRINT_BYTES,
    AnyParams,
    MemberParams,
    RowParams,
    SegmentShape,
    Setup,
)


def check_setup(setup: Setup, params: AnyParams, family: bytes, memory_bytes: int) -> None:
    """Raise ProtocolAbort for shapes that no honest server has, BadInput for what does not fit our memory."""
    if setup.lineage != family:
        raise ProtocolAbort(
            "server describes another database than was signed: are both sides of one release?"
        )
    for number, shape in enumerate(setup.segments):
        _check_segment(shape, params, first=number == 0)
    if isinstance(params, MemberParams) and len(setup.segments) > 1:
        raise ProtocolAbort("server announced changes where none are kept apart")
    digests = [
        digest for shape in setup.segments for digest in (shape.data_digest, shape.key_digest) if digest
    ]
    if len(set(digests)) != len(digests):
        # Two halves with one hint would have one length, and no honest halves are alike.
        raise ProtocolAbort("server announced one hint twice")
    if setup.records > sum(shape.records for shape in setup.segments):
        raise ProtocolAbort("server announced more records than its segments hold")
    needed = sum(shape.layout.hint_bytes for shape in setup.segments)
    # A batch of queries, and the same again while it is prepared.
    needed += max(2 * linear.BATCH * 4 * shape.layout.columns for shape in setup.segments)
    if needed > memory_bytes:
        raise BadInput(
            f"this retrieval needs {needed} bytes of memory, {memory_bytes} are allowed: "
            "ask for fewer columns"
        )


def _check_segment(shape: SegmentShape, params: AnyParams, *, first: bool) -> None:
    keyed = not (first and isinstance(params, RowParams))
    if shape.keyed != keyed or len(shape.filter_seed) != (fuse.SEED_BYTES if keyed else 0):
        raise ProtocolAbort("server announced a database of another kind")
    if len(shape.salts) != (fuse.SALT_BYTES * shape.stack if keyed else 0):
        raise ProtocolAbort("server announced a filter of another kind")
    if isinstance(params, MemberParams):
        fitting = shape.data_bytes == 0 and shape.key_bytes == FINGERPRINT_BYTES
    else:
        fitting = (
            records.sealed_bytes(0) <= shape.data_bytes <= records.sealed_bytes(params.max_record_bytes)
            and not (shape.data_bytes - records.TAG_BYTES) % records.SIZE_STEP
            and shape.key_bytes == records.KEY_BYTES
        )
    if not fitting or len(shape.data_digest) != (32 if shape.data_bytes else 0):
        raise ProtocolAbort("server announced records of an impossible size")
    if not shape.layout.valid():
        raise ProtocolAbort("server announced a layout that the parameters do not allow")
