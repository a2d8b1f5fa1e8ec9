"""One bucket of a list, as both parties see it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from compute.errors import BadInput
from compute.protocols.protocol import Session
from compute.protocols.psi.oprf import ITEM_BYTES, Items
from compute.protocols.psi.rr22 import items
from compute.protocols.psi.rr22.parameters import Mode, Shape, check_sound, shape


@dataclass(frozen=True, repr=False)  # holds items: keep it out of logs
class Bucket:
    """``shape`` follows from the receiver's count; None if either party has no item: then nothing crosses."""

    context: bytes
    own: Items
    shape: Shape | None


def buckets_of(
    mode: Mode,
    session: Session,
    buckets: Sequence[Items],
    peer_counts: Sequence[int],
    instance: bytes,
    *,
    as_sender: bool,
) -> list[Bucket]:
    """Raises BadInput for arrays that are no items, or too many items for the mode."""
    if len(buckets) != len(peer_counts):
        raise BadInput(f"{len(buckets)} buckets and {len(peer_counts)} counts of the peer")
    result = []
    for index, (own, peer_count) in enumerate(zip(buckets, peer_counts, strict=True)):
        if own.ndim != 2 or own.shape[1] != ITEM_BYTES or own.dtype.kind != "u" or own.dtype.itemsize != 1:
            raise BadInput(f"bucket {index} is no array of items of {ITEM_BYTES} bytes")
        of_sender, of_receiver = (len(own), peer_count) if as_sender else (peer_count, len(own))
        check_sound(mode, of_sender)
        sizes = shape(mode, of_receiver) if of_sender and of_receiver else None
        context = items.context(session.binding, mode.name, instance, index)
        result.append(Bucket(context, own, sizes))
    return result
