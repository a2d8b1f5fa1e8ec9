"""A pseudorandom function that its sender programs: at its own items it takes the values the sender wants.

    receiver ↔ sender   OPRF: F(x) for the receiver's x, F(y) for the sender's y
    sender → receiver   a key-value store of y ↦ value(y) ⊕ F(y)
    receiver            decode(x) ⊕ F(x): value(x) if the sender has x, else pseudorandom

The store is uniform and hides the sender's items as long as their values look random to the receiver. Source:
Kolesnikov, Matania, Pinkas, Rosulek, Trieu, CCS 2017 (OPPRF), with an OKVS as the hint (Garimella,
Pinkas, Rosulek, Trieu, Yanai, "Oblivious Key-Value Stores", CRYPTO 2021).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from msgspec import Meta

from accel import okvs
from accel.errors import EncodingFailed
from compute.errors import ProtocolAbort
from compute.protocols.protocol import Call, Message, Part, Send, Session, compute, receive
from compute.protocols.psi.many.zero_sharing import Words, as_words
from compute.protocols.psi.oprf import Items, Oprf
from compute.protocols.psi.waves import MOST_PARALLEL
from compute.protocols.stream import receive_array, send_array

_ATTEMPTS = 3


class Turn(Message, frozen=True, tag="many.turn"):
    """What both are about to do, so that a wave which is repeated or out of turn shows."""

    instance: Annotated[bytes, Meta(min_length=32, max_length=32)]


class Hint(Message, frozen=True, tag="many.hint"):
    """The seed of each key-value store that follows, one per bucket."""

    seeds: Annotated[
        tuple[Annotated[bytes, Meta(min_length=okvs.SEED_BYTES, max_length=okvs.SEED_BYTES)], ...],
        Meta(min_length=1, max_length=MOST_PARALLEL),
    ]


def program(
    session: Session,
    peer: str,
    oprf: Oprf,
    buckets: Sequence[Items],
    values: Sequence[Words],
    peer_count: int,
    instance: bytes,
) -> Part[None]:
    """The sender's part: ``values[i]`` (n, words) at the items ``buckets[i]`` (n, 32), n the same for all.

    It learns nothing but ``peer_count``, the peer's number of items in a bucket. ``instance`` (32 bytes) is
    public and unique in the job; raises ProtocolAbort if the peer is at another one.
    """
    yield from _take_turn(peer, instance)
    outputs = yield from oprf.send(session, peer, buckets, [peer_count] * len(buckets), instance)
    words = values[0].shape[1]
    calls = []
    for items, value, output in zip(buckets, values, outputs, strict=True):
        seeds = tuple(session.rng(okvs.SEED_BYTES) for _ in range(_ATTEMPTS))
        calls.append(Call(encode, (items, value ^ as_words(output, words), seeds, session.rng(32))))
    stores = yield from compute(calls)
    yield Send(peer, Hint(tuple(seed for seed, _ in stores)))
    data = np.concatenate([table for _, table in stores]).astype("<u8", copy=False).view(np.uint8)
    yield from send_array(
        peer, len(data), 8 * words, lambda first, last: data[first:last].tobytes(), "psi.hint"
    )


def evaluate(
    session: Session,
    peer: str,
    oprf: Oprf,
    buckets: Sequence[Items],
    peer_count: int,
    words: int,
    instance: bytes,
) -> Part[list[Words]]:
    """The receiver's part: the programmed function at its items, (n, words) for each bucket."""
    yield from _take_turn(peer, instance)
    outputs = yield from oprf.receive(session, peer, buckets, [peer_count] * len(buckets), instance)
    seeds = (yield from receive(peer, Hint)).seeds
    if len(seeds) != len(buckets):
        raise ProtocolAbort(f"{peer} sent {len(seeds)} key-value stores, {len(buckets)} were due")
    size = okvs.layout(peer_count).size
    data = yield from receive_array(peer, size * len(buckets), 8 * words, "psi.hint")
    tables = np.frombuffer(data, "<u8").astype(np.uint64, copy=False).reshape(len(buckets), size, words)
    decoded = yield from compute(
        Call(okvs.decode, (table, items, seed, peer_count))
        for table, items, seed in zip(tables, buckets, seeds, strict=True)
    )
    return [found ^ as_words(output, words) for found, output in zip(decoded, outputs, strict=True)]


def _take_turn(peer: str, instance: bytes) -> Part[None]:
    yield Send(peer, Turn(instance))
    if (yield from receive(peer, Turn)).instance != instance:
        raise ProtocolAbort(f"{peer} is at another bucket, or was told something else at the beginning")


def encode(items: Items, masked: Words, seeds: tuple[bytes, ...], filling: bytes) -> tuple[bytes, Words]:
    """A `Call`: the store of ``masked`` at ``items`` under the first seed that gives one.

    Its free entries come from ``filling``, 32 bytes. Raises ProtocolAbort if no seed does.
    """
    for seed in seeds:
        try:
            return seed, okvs.encode(items, masked, seed, lambda length: filling[:length])
        except EncodingFailed:
            # 2^-40 each, whatever the items are: that another seed was taken tells nothing of them.
            continue
    raise ProtocolAbort("the key-value store could not be encoded: run the job again")
