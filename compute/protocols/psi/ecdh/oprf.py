"""An oblivious pseudorandom function by Diffie-Hellman (2HashDH) over curve25519, SM2 or secp256k1.

    sender   → receiver   B = b·G (curve25519 alone)
    receiver → sender     {mask of H(x)}, blocks in the order of the items
    sender   → receiver   {b times that}, block by block as they come
    F(x) = SM3(context, bucket, x, b·H(x));   the sender computes F(y) alone

b is fresh in every run, masks too; bucket number and item are hashed together, so nothing repeats between
buckets. Source: Jarecki, Kiayias, Krawczyk, "Round-Optimal Password-Protected Secret Sharing and T-PAKE",
ASIACRYPT 2014 (2HashDH); RFC 9497 section 3.3.1 (OPRF mode), with SM3.

**Masks on curve25519** are added: H(x) + r·G with a fresh r for each item, and r·B is taken off the answer.
What is sent is uniform in the group whatever x is, so it hides x from any sender, however it computes (the r
come from AES-256 in counter mode; up to that). Two multiplications of points that nobody knows beforehand are
left per pair of items, both the sender's; multiples of G and B come from tables. Source: Jarecki, Krawczyk,
Xu, "On the (In)Security of the Diffie-Hellman Oblivious PRF with Multiplicative Blinding", PKC 2021, who call
it multiplicative and write groups as products. Their warning: a sender that deviates can send B ≠ b·G. The
receiver then gets b·H(x) + r·(b·G - B), which for B ≠ b·G is uniform and fits no item. A sender can also
add the same point to all its answers, which gives a function that is correlated with F. Neither tells it
about x by itself; what it can learn from how the receiver goes on (for example from the size of the result)
is what it learns by answering wrongly under any masks: see README.md. We claim security against a sender that
follows the protocol, and privacy of what is sent against any.

**Masks on SM2 and secp256k1** are one scalar r for all items of a run, and r⁻¹ is applied to the answers:
with r for distinct items, what is sent is (r·P₁, …, r·Pₙ) for independent random points Pᵢ = H(xᵢ). If H is a
random oracle this vector is indistinguishable from n random points by decisional Diffie-Hellman: from a
challenge (G, R, U, V), V = r·U or random, set Pᵢ = aᵢ·G + cᵢ·U and answer aᵢ·R + cᵢ·V. Equal items would show
as equal points; there are none, by the contract of `Oprf` and since buckets are numbered. It is the argument
of DH-PSI (Huberman, Franklin, Hogg 1999).

**The sender's key** b is an exponent that answers n chosen points. A receiver that deviates may feed
answers back (b, b², … of a point, the first of them B); by Cheon, EUROCRYPT 2006, n such answers cost at most
½·log₂ n bits of the 126 (RFC 9497 section 7.2.3): 14 bits at the 2^28 items that a job may have. F stays
pseudorandom on all but n inputs (one-more gap Diffie-Hellman, random oracles). B is public in that game.

Blocks are answered as they come and the sender's own items are done in between, so both parties work at the
same time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
from msgspec import Meta

from accel import sm3
from compute.errors import ProtocolAbort
from compute.protocols.protocol import Call, Message, Part, Progress, Send, Session, compute, receive
from compute.protocols.psi.ecdh.curves import (
    GROUPS,
    CurveName,
    Group,
    Rows,
    blind,
    mask,
    multiply_masked,
    received_from,
    require_distinct,
)
from compute.protocols.psi.oprf import ITEM_BYTES, OUTPUT_BYTES, Items
from compute.protocols.stream import Uint32

# Points per message, and so per call: 5 ms of a GPU, 90 ms of a core.
BLOCK = 1 << 14
# Blocks that a receiver sends before it waits for the first answer. A side asks for at most half as many at
# once, so whatever the two sides' `parallel`, there is always an answer on the way to who waits for one.
LEAD = 32
MOST_AT_ONCE = LEAD // 2
BUCKET_BYTES = 4


Block = Annotated[bytes, Meta(max_length=BLOCK * 33)]


class Points(Message, frozen=True, tag="ecdh.points"):
    """Block ``index`` of a run's masked points, counted from 0."""

    index: Uint32
    data: Block


class Key(Message, frozen=True, tag="ecdh.key"):
    """The sender's public key B, before its first answer; on curve25519 alone."""

    data: Annotated[bytes, Meta(max_length=32)]


@dataclass(frozen=True)
class EcdhOprf:
    """`compute.protocols.psi.oprf.Oprf` over the curve of this name."""

    curve: CurveName = "curve25519"

    @property
    def name(self) -> str:
        """As it stands in parameters and reasons."""
        return f"ecdh-{self.curve}"

    def send(
        self,
        session: Session,
        peer: str,
        buckets: Sequence[Items],
        peer_counts: Sequence[int],
        instance: bytes,
    ) -> Part[list[Items]]:
        """See `Oprf.send`. Learns nothing but ``peer_counts``."""
        function = Function(self.curve, context(self.curve, session.binding, instance))
        key = GROUPS[self.curve].random_scalar(session.rng)
        own = OwnItems(function, key, number(buckets))
        yield from answer(session, peer, self.curve, key, sum(peer_counts), own)
        return cut(own.outputs, buckets)

    def receive(
        self,
        session: Session,
        peer: str,
        buckets: Sequence[Items],
        peer_counts: Sequence[int],
        instance: bytes,
    ) -> Part[list[Items]]:
        """See `Oprf.receive`. Learns F of its items, of which the sender's key is no part."""
        function = Function(self.curve, context(self.curve, session.binding, instance))
        return cut((yield from ask(session, peer, function, number(buckets))), buckets)


@dataclass(frozen=True)
class Function:
    """The public half of F: a curve, and 32 bytes that say what it is for."""

    curve: CurveName
    context: bytes

    @property
    def dst(self) -> bytes:
        """Domain separation tag of the hash to the curve."""
        return b"LIUTONG-V1-ECDH-OPRF-" + GROUPS[self.curve].suite + b"-" + self.context.hex().encode()


def context(curve: CurveName, *parts: bytes) -> bytes:
    """32 bytes over a curve's name and the parts, injectively."""
    encoded = b"".join(len(part).to_bytes(4, "big") + part for part in (curve.encode(), *parts))
    return sm3.digest(b"liutong/psi/ecdh/v1\0" + encoded)


def number(buckets: Sequence[Items]) -> Rows:
    """The items of all buckets in one matrix, each behind the number of its bucket: (n, 36)."""
    counts = [len(bucket) for bucket in buckets]
    rows = np.empty((sum(counts), BUCKET_BYTES + ITEM_BYTES), np.uint8)
    numbers = np.repeat(np.arange(len(counts), dtype=">u4"), counts)
    rows[:, :BUCKET_BYTES] = numbers.view(np.uint8).reshape(-1, BUCKET_BYTES)
    if len(rows):
        rows[:, BUCKET_BYTES:] = np.concatenate(buckets)
    return rows


def cut(outputs: Rows, buckets: Sequence[Items]) -> list[Items]:
    """Outputs in the order of `number`, bucket by bucket."""
    ends = np.cumsum([len(bucket) for bucket in buckets])[:-1]
    return list(np.split(outputs, ends)) if len(buckets) else []


@dataclass(repr=False)  # holds a key
class OwnItems:
    """The sender's own evaluation, done in pieces between answers."""

    function: Function
    key: bytes
    rows: Rows
    outputs: Rows = field(init=False)
    done: int = 0

    def __post_init__(self) -> None:
        self.outputs = np.empty((len(self.rows), OUTPUT_BYTES), np.uint8)

    def advance(self, session: Session, share: float) -> Part[None]:
        """Evaluate until this share of the items is done, in whole blocks."""
        target = min(len(self.rows), -(-int(share * len(self.rows)) // BLOCK) * BLOCK)
        while self.done < target:
            spans = spans_of(self.done, target, session)
            results = yield from compute(
                Call(evaluate, (self.function, self.rows[first:last], self.key)) for first, last in spans
            )
            for (first, last), result in zip(spans, results, strict=True):
                self.outputs[first:last] = result
                self.done = last
            yield Progress("psi.blind", self.done, len(self.rows))


def answer(
    session: Session, peer: str, curve: CurveName, key: bytes, count: int, own: OwnItems | None = None
) -> Part[None]:
    """The sender's part for ``count`` items of the peer: answers each block, does ``own`` items in between.

    Raises ProtocolAbort for blocks that are not due and for points that are invalid or repeated.
    """
    group = GROUPS[curve]
    width = group.point_bytes
    if count and group.key_bytes:
        yield Send(peer, Key(group.public_key(key)))
    seen = np.empty((count, width), np.uint8)
    done = 0
    while done < count:
        spans = spans_of(done, count, session)
        for first, last in spans:
            seen[first:last] = yield from receive_block(peer, first, last - first, width)
        calls = [Call(multiply_masked, (curve, seen[first:last], key, peer)) for first, last in spans]
        for (first, last), points in zip(spans, (yield from compute(calls)), strict=True):
            yield Send(peer, Points(first // BLOCK, points.tobytes()))
            done = last
        yield Progress("psi.double_blind", done, count)
        if own is not None:
            yield from own.advance(session, done / count)
    require_distinct(seen, peer)
    if own is not None:
        yield from own.advance(session, 1.0)


def ask(session: Session, peer: str, function: Function, rows: Rows) -> Part[Rows]:
    """The receiver's part: F of every row under the peer's key, (n, 32).

    Raises ProtocolAbort for answers that are not due, invalid or repeated.
    """
    group = GROUPS[function.curve]
    masks = group.new_masks(session.rng)
    public: bytes | None = None
    outputs = np.empty((len(rows), OUTPUT_BYTES), np.uint8)
    answers = np.empty((len(rows), group.point_bytes), np.uint8)
    sent = done = 0
    while done < len(rows):
        while sent < len(rows) and sent - done < LEAD * BLOCK:
            spans = spans_of(sent, len(rows), session)
            calls = [Call(mask, (function.curve, rows[a:b], function.dst, masks, a)) for a, b in spans]
            for (first, last), points in zip(spans, (yield from compute(calls)), strict=True):
                yield Send(peer, Points(first // BLOCK, points.tobytes()))
                sent = last
            yield Progress("psi.blind", sent, len(rows))
        spans = spans_of(done, sent, session)
        if public is None:
            public = yield from receive_key(peer, group)
        for first, last in spans:
            answers[first:last] = yield from receive_block(peer, first, last - first, group.point_bytes)
        calls = [Call(unmask, (function, rows[a:b], answers[a:b], masks, a, public, peer)) for a, b in spans]
        for (first, last), result in zip(spans, (yield from compute(calls)), strict=True):
            outputs[first:last] = result
            done = last
        yield Progress("psi.receive", done, len(rows))
    require_distinct(answers, peer)
    return outputs


def evaluate(function: Function, rows: Rows, key: bytes) -> Rows:
    """A `Call`: F of rows by who holds the key."""
    return _finish(function, rows, blind(function.curve, rows, function.dst, key))


def unmask(
    function: Function, rows: Rows, answers: Rows, masks: bytes, first: int, public: bytes, peer: str
) -> Rows:
    """A `Call`: F of rows from number ``first`` on by the peer's answers; ProtocolAbort if one is bad."""
    with received_from(peer):
        bare = GROUPS[function.curve].unmask(answers, masks, first, public)
    return _finish(function, rows, bare)


def _finish(function: Function, rows: Rows, points: Rows) -> Rows:
    return sm3.digest_many(np.concatenate([rows, points], axis=1), prefix=function.context)


def spans_of(start: int, stop: int, session: Session) -> list[tuple[int, int]]:
    """The next blocks, as many as are worth computing at once; ``start`` is a multiple of `BLOCK`."""
    most = max(1, min(session.parallel, MOST_AT_ONCE))
    return [(first, min(first + BLOCK, stop)) for first in range(start, stop, BLOCK)[:most]]


def receive_key(peer: str, group: Group) -> Part[bytes]:
    """What unmasking needs of the sender's key; ProtocolAbort for another length."""
    if not group.key_bytes:
        return b""
    key = yield from receive(peer, Key)
    if len(key.data) != group.key_bytes:
        raise ProtocolAbort(f"{peer} sent a key of another length")
    return key.data


def receive_block(peer: str, first: int, count: int, width: int) -> Part[Rows]:
    """The ``count`` points of ``peer`` from number ``first`` on; ProtocolAbort if another block comes."""
    block = yield from receive(peer, Points)
    if block.index != first // BLOCK or len(block.data) != count * width:
        raise ProtocolAbort(f"{peer} sent points that were not due: block {first // BLOCK} of {count} was")
    return np.frombuffer(block.data, np.uint8).reshape(count, width)
