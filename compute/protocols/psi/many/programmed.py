"""A pseudorandom function that its sender programs: at its own items it takes the values the sender wants.

    receiver ↔ sender   OPRF: F(x) for the receiver's x, F(y) for the sender's y
    sender → receiver   a key-value store of y ↦ value(y) ⊕ F(y)
    receiver            decode(x) ⊕ F(x): value(x) if the sender has x, else pseudorandom

The store is uniform and hides the sender's items as long as their values look random to the receiver. Source:
Kolesnikov, Matania, Pinkas, Rosulek, Trieu, CCS 2017 (OPPRF), with an OKVS as the hint (Garimella,
Pinkas, Rosulek, Trieu, Yanai, "Oblivious Key-Value Stores", CRYPTO 2021).
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from msgspec import Meta

from accel import okvs
from accel.errors import EncodingFailed
from compute.errors import ProtocolAbort
from compute.protocols.protocol import Call, Message, Part, Send, Session, compute, receive
from compute.protocols.psi.many.zero_sharing import Words, as_words
from compute.protocols.psi.oprf import Items, Oprf
from compute.protocols.stream import receive_array, send_array

_ATTEMPTS = 3


class Hint(Message, frozen=True, tag="many.hint"):
    """The seed of the key-value store that follows."""

    seed: Annotated[bytes, Meta(min_length=okvs.SEED_BYTES, max_length=okvs.SEED_BYTES)]


def program(
    session: Session, peer: str, oprf: Oprf, items: Items, values: Words, peer_count: int, instance: bytes
) -> Part[None]:
    """The sender's part: ``values`` (n, words) at ``items`` (n, 32). It learns nothing but ``peer_count``."""
    words = values.shape[1]
    (outputs,) = yield from oprf.send(session, peer, [items], [peer_count], instance)
    masked = values ^ as_words(outputs, words)
    seeds = tuple(session.rng(okvs.SEED_BYTES) for _ in range(_ATTEMPTS))
    ((seed, table),) = yield from compute([Call(encode, (items, masked, seeds, session.rng(32)))])
    yield Send(peer, Hint(seed))
    data = table.astype("<u8").view(np.uint8).reshape(len(table), 8 * words)
    yield from send_array(
        peer, len(table), 8 * words, lambda first, last: data[first:last].tobytes(), "psi.hint"
    )


def evaluate(
    session: Session, peer: str, oprf: Oprf, items: Items, peer_count: int, words: int, instance: bytes
) -> Part[Words]:
    """The receiver's part: the programmed function at its ``items``, (n, words)."""
    (outputs,) = yield from oprf.receive(session, peer, [items], [peer_count], instance)
    seed = (yield from receive(peer, Hint)).seed
    size = okvs.layout(peer_count).size
    data = yield from receive_array(peer, size, 8 * words, "psi.hint")
    table = np.frombuffer(data, "<u8").astype(np.uint64, copy=False).reshape(size, words)
    (decoded,) = yield from compute([Call(okvs.decode, (table, items, seed, peer_count))])
    values: Words = decoded ^ as_words(outputs, words)
    return values


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
