"""Cost of a run of `Rr22`; see `compute.protocols.cost`."""

from __future__ import annotations

from collections.abc import Sequence

from compute.protocols.cost import Cost, array_bytes
from compute.protocols.psi.rr22.parameters import BLOCK_BYTES, Mode, Shape, shape
from compute.protocols.psi.rr22.subspace_vole import DIGEST_BYTES, KEY_BITS


def oprf_cost(mode: Mode, sender: Sequence[int], receiver: Sequence[int]) -> Cost:
    """One run; the numbers of items bucket by bucket. Bytes are exact.

    Operations: base transfers, seeds of trees that are expanded, values that the code maps and table entries,
    per party and all buckets together.
    """
    shapes = [
        shape(mode, of_receiver)
        for of_sender, of_receiver in zip(sender, receiver, strict=True)
        if of_sender and of_receiver
    ]
    return Cost(
        {
            "sender": sum(sum(map(_bytes, sender_parts(one))) for one in shapes),
            "receiver": sum(sum(map(_bytes, receiver_parts(one))) for one in shapes),
        },
        {
            "base_transfer": KEY_BITS * len(shapes),
            "seed": sum(
                one.noise * one.leaves + (one.mode.trees << one.mode.tree_bits) * one.blocks for one in shapes
            ),
            "code_value": sum(one.noise * one.leaves for one in shapes),
            "table_entry": sum(one.outputs for one in shapes),
        },
    )


def sender_parts(one: Shape) -> list[int]:
    """Sizes of the byte strings that the sender of a bucket sends, in their order."""
    challenge = [BLOCK_BYTES] if one.mode.checked else []
    noise = [one.noise_bytes] if one.noise else []
    combination = [DIGEST_BYTES] if one.combined else []
    coin = [BLOCK_BYTES] if one.mode.checked else []
    return [one.choose_bytes, *challenge, *noise, *combination, *coin]


def receiver_parts(one: Shape) -> list[int]:
    """Sizes of the byte strings that the receiver of a bucket sends, in their order."""
    fingerprint = [BLOCK_BYTES + DIGEST_BYTES] if one.mode.checked else []
    combination = [2 * BLOCK_BYTES] if one.combined else []
    return [one.extend_bytes, *fingerprint, *combination, one.table_bytes]


def _bytes(count: int) -> int:
    return array_bytes(count, 1)
