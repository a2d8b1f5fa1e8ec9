"""Two-party intersection over any oblivious pseudorandom function F: tags, labels, waves of buckets.

    both         Hello (`psi.agreement`)
    per wave     the OPRF of its buckets (`psi.oprf`): receiver has F(x), sender F(y)
      sender → receiver   tags of F(y), sorted [, labels encrypted under F(y)]
      receiver            compares, reads the labels of its matches
    at the end, if the sender is to learn the result:
      receiver → sender   one bit per tag, proof of knowing F for them [, its labels for them, padded]
    at the end, if asked for: both send a digest of what they computed on

F's 32 bytes are pseudorandom (hash outputs in every implementation), so the tag is their beginning and the
key of the label, and of the proof, their last 16 bytes: disjoint, hence independent. Tags have 40 + log2(n·m)
bits: all pairs together collide with probability 2^-40 at most. Sorted, they say nothing of the order of the
sender's keys. The receiver's order appears in no message.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from accel import rows as byte_rows
from accel import sm3
from compute.errors import ProtocolAbort
from compute.protocols.keyset import KeySet, digest_order
from compute.protocols.protocol import Message, Part, Send, Session, receive
from compute.protocols.psi import labels
from compute.protocols.psi.agreement import Bytes32, Greeting, Plan
from compute.protocols.psi.buckets import Source, filled
from compute.protocols.psi.labels import KEY_BYTES, MAC_BYTES
from compute.protocols.psi.matching import MAX_TAG_BYTES, ascending, match
from compute.protocols.psi.oprf import OUTPUT_BYTES, Items, Oprf
from compute.protocols.psi.waves import Arrays, in_waves
from compute.protocols.sets import check_intersection
from compute.protocols.stream import receive_rows, send_rows

Numbers = npt.NDArray[np.int64]
Rows = npt.NDArray[np.uint8]

assert MAX_TAG_BYTES + KEY_BYTES <= OUTPUT_BYTES


class Proof(Message, frozen=True, tag="psi.proof"):
    """Only who has F of all the keys that the bits before name can make it."""

    digest: Bytes32


class ResultCheck(Message, frozen=True, tag="psi.check"):
    """Digest of what the sender computed on, and of the size of the result if both sides have it."""

    digest: Bytes32


@dataclass(frozen=True, repr=False)  # holds identifiers
class Side:
    """One role's part in a job.

    ``mutual``: the sender learns the result as well. ``labels_of`` gives the packed labels of rows of our
    table (None: we give none); the peer's are described by its `Hello`.
    """

    session: Session
    peer: str
    oprf: Oprf
    source: Source
    plan: Plan
    greeting: Greeting
    mutual: bool
    labels_of: Callable[[Numbers], Rows] | None

    @property
    def peer_label_bytes(self) -> int:
        """Width of the peer's packed labels; 0 if it gives none."""
        return labels.width_of(self.greeting.theirs.labels)

    @property
    def most_matches(self) -> int:
        """How many keys both may have: what goes to the sender has this length, whatever the result."""
        return min(self.greeting.mine.count, self.greeting.theirs.count)

    def instance(self, wave: int) -> bytes:
        """Public and different for every wave of every attempt."""
        nonces = sorted((self.greeting.mine.nonce, self.greeting.theirs.nonce))
        return sm3.digest(b"liutong/psi/wave/v1" + b"".join(nonces) + wave.to_bytes(8, "big"))

    def context(self, role: str) -> bytes:
        """What labels of ``role`` are sealed for."""
        return self.session.binding + sm3.digest(role.encode())


@dataclass(frozen=True, repr=False)  # holds results
class Found:
    """The rows of our table whose key the peer has, in the order of digests, and how many keys these are.

    ``labels`` are the peer's packed labels, a row for each of ``rows``; (rows, 0) if it gives none.
    """

    keys: int
    rows: Numbers
    labels: Rows


def receive_result(side: Side) -> Part[Found]:
    """The receiver's part: learns which of its keys the sender has, and their labels.

    Raises CohortTooSmall if they are too few, ProtocolAbort for what the sender may not send.
    """
    waves = yield from in_waves(side.session, side.plan, lambda wave: _receive_wave(side, wave))
    found = _joined(side, [(int(wave[0][0]), wave[1], wave[2]) for wave in waves])
    check_intersection(found.keys, side.session.min_cohort)
    if side.mutual:
        yield from _tell(side, waves)
    return found


def send_result(side: Side) -> Part[Found | None]:
    """The sender's part: learns the same if ``mutual``, else nothing but the receiver's number of keys."""
    waves = yield from in_waves(side.session, side.plan, lambda wave: _send_wave(side, wave))
    if not side.mutual:
        return None
    return (yield from _be_told(side, waves))


def check_result(
    session: Session, peer: str, greeting: Greeting, parties: bytes, count: int | None
) -> Part[None]:
    """Tell each other what was computed on; raises ProtocolAbort if it was not the same.

    ``parties`` names roles and dataset versions; ``count`` is the size of the result, None unless both roles
    have it.
    """
    first, second = sorted((greeting.mine, greeting.theirs), key=lambda hello: hello.nonce)
    seen = b"".join(item.commitment + item.count.to_bytes(8, "big") for item in (first, second))
    size = b"\0" if count is None else b"\1" + count.to_bytes(8, "big")
    digest = sm3.digest(b"liutong/psi/check/v1" + session.binding + seen + size + parties)
    yield Send(peer, ResultCheck(digest))
    answer = yield from receive(peer, ResultCheck)
    if not hmac.compare_digest(answer.digest, digest):
        raise ProtocolAbort(f"{peer} computed on other versions, or has another result")


# -- waves


def _receive_wave(side: Side, wave: int) -> Part[Arrays]:
    """Keys found, rows, labels; and for the sender: bits per tag, secrets, first rows if it gets labels."""
    plan, peer = side.plan, side.peer
    sets, items = _filled(side, wave)
    outputs = yield from side.oprf.receive(
        side.session, peer, items, [plan.peer] * len(items), side.instance(wave)
    )
    total = plan.peer * len(items)
    theirs = yield from receive_rows(peer, total, plan.tag_bytes, "psi.match")
    width = side.peer_label_bytes
    sealed = yield from receive_rows(peer, total, width + MAC_BYTES if width else 0, "psi.labels")
    bits = np.zeros(total, np.bool_)
    count = 0
    pieces: list[Arrays] = []
    for bucket, (keys, output) in enumerate(zip(sets, outputs, strict=True)):
        start = bucket * plan.peer
        # Random items, which stand behind the keys, match by chance alone.
        here, there = match(output[: len(keys), : plan.tag_bytes], theirs[start : start + plan.peer])
        count += len(here)
        rows, owners = keys.rows_of(here)
        plain = np.empty((len(rows), 0), np.uint8)
        firsts: Arrays = ()
        if side.mutual or width:
            secrets = byte_rows.take(output[:, -KEY_BYTES:], here)
        if width:
            opened = labels.open_sealed(sealed[start + there], secrets, side.context(peer), peer)
            plain = opened[owners]
        if side.mutual:
            bits[start + there] = True
            firsts = (secrets,)
            if side.labels_of is not None:
                in_their_order = ascending(there, plan.peer)
                firsts = secrets[in_their_order], _first_rows(keys, here[in_their_order])
        pieces.append((rows, plain, *firsts))
    rows, plain, *for_sender = (_together(column) for column in zip(*pieces, strict=True))
    told = (np.packbits(bits), *for_sender) if side.mutual else ()
    return np.array([count]), rows, plain, *told


def _send_wave(side: Side, wave: int) -> Part[Arrays]:
    """If the sender will be told the result: which item each tag was of, and the items' secrets."""
    plan, peer = side.plan, side.peer
    sets, items = _filled(side, wave)
    outputs = yield from side.oprf.send(
        side.session, peer, items, [plan.peer] * len(items), side.instance(wave)
    )
    orders = [digest_order(output) for output in outputs]
    tags = [
        byte_rows.take(output[:, : plan.tag_bytes], order)
        for output, order in zip(outputs, orders, strict=True)
    ]
    yield from send_rows(peer, _together(tags), "psi.match")
    if side.labels_of is not None:
        context = side.context(side.session.role)
        sealed = [
            labels.seal(_labels(side, keys, order), output[order, -KEY_BYTES:], context)
            for keys, order, output in zip(sets, orders, outputs, strict=True)
        ]
        yield from send_rows(peer, np.concatenate(sealed), "psi.labels")
    if not side.mutual:
        return (np.empty(0, np.int64),)
    starts = (bucket * plan.own for bucket in plan.of_wave(wave))
    numbers = [start + order for start, order in zip(starts, orders, strict=True)]
    return _together(numbers), _together([output[:, -KEY_BYTES:] for output in outputs])


def _filled(side: Side, wave: int) -> tuple[list[KeySet], list[Items]]:
    sets = [side.source.bucket(bucket, side.plan.buckets) for bucket in side.plan.of_wave(wave)]
    return sets, [filled(keys.digests, side.plan.own, side.session.rng) for keys in sets]


def _labels(side: Side, keys: KeySet, order: Numbers) -> Rows:
    """The packed labels of items in this order; random items have zeros."""
    assert side.labels_of is not None
    real = order < len(keys)
    packed = side.labels_of(_first_rows(keys, order[real]))
    rows = np.zeros((len(order), packed.shape[1]), np.uint8)
    rows[real] = packed
    return rows


def _first_rows(keys: KeySet, chosen: Numbers) -> Numbers:
    return keys.rows[keys.offsets[chosen]]


# -- telling the sender


def _tell(side: Side, waves: list[Arrays]) -> Part[None]:
    plan = side.plan
    sizes = [plan.peer * len(plan.of_wave(wave)) for wave in range(plan.waves)]
    bits = [np.unpackbits(wave[3], count=size) for wave, size in zip(waves, sizes, strict=True)]
    flat = np.packbits(np.concatenate(bits))
    yield from send_rows(side.peer, flat.reshape(-1, 1), "psi.result")
    secrets = [wave[4] for wave in waves]
    yield Send(side.peer, Proof(_proof(side, secrets)))
    if side.labels_of is not None:
        packed = side.labels_of(_together([wave[5] for wave in waves]))
        sealed = labels.seal(packed, _together(secrets), side.context(side.session.role))
        # Bytes and progress are public: without padding they would tell the size of the result.
        missing, width = side.most_matches - len(sealed), sealed.shape[1]
        padding = np.frombuffer(side.session.rng(missing * width), np.uint8).reshape(missing, width)
        yield from send_rows(side.peer, np.concatenate([sealed, padding]), "psi.labels")


def _be_told(side: Side, waves: list[Arrays]) -> Part[Found]:
    session, plan, peer = side.session, side.plan, side.peer
    total = plan.own * plan.buckets
    octets = yield from receive_rows(peer, -(-total // 8), 1, "psi.result")
    flat = np.unpackbits(octets.reshape(-1)).astype(np.bool_)
    named, order, secrets = _named(side, waves, flat)
    proof = (yield from receive(peer, Proof)).digest
    possible = len(named) <= side.most_matches and not flat[total:].any()
    if not possible or not hmac.compare_digest(proof, _proof(side, secrets)):
        raise ProtocolAbort(f"{peer} named keys of ours that it does not have")
    check_intersection(len(named), session.min_cohort)
    width = side.peer_label_bytes
    plain = np.empty((len(named), 0), np.uint8)
    if width:
        sealed = yield from receive_rows(peer, side.most_matches, width + MAC_BYTES, "psi.labels")
        opened = labels.open_sealed(sealed[: len(named)], _together(secrets), side.context(peer), peer)
        plain = opened[order]
    del secrets, order  # the rows need the memory
    pieces = []
    for bucket in range(plan.buckets):
        inside = slice(*np.searchsorted(named, (bucket * plan.own, (bucket + 1) * plan.own)))
        keys = side.source.bucket(bucket, plan.buckets)
        matched = named[inside] - bucket * plan.own
        if (matched >= len(keys)).any():
            raise ProtocolAbort(f"{peer} named keys of ours that it does not have")
        rows, owners = keys.rows_of(matched)
        pieces.append((len(matched), rows, plain[inside][owners]))
    return _joined(side, pieces)


def _named(
    side: Side, waves: Sequence[Arrays], flat: npt.NDArray[np.bool_]
) -> tuple[Numbers, Numbers, list[Rows]]:
    """The numbers of our items whose tags the bits name, ascending; in which order the peer names them; and
    their secrets in the peer's order, wave by wave, so that those of all items are never in memory."""
    named: list[Numbers] = []
    orders: list[Numbers] = []
    secrets: list[Rows] = []
    start = found = 0
    for wave, (numbers, kept) in enumerate(waves):
        size = side.plan.own * len(side.plan.of_wave(wave))
        items = numbers[flat[start : start + size]] - start
        order = ascending(items, size)
        named.append(start + items[order])
        orders.append(found + order)
        secrets.append(byte_rows.take(kept, items))
        start += size
        found += len(items)
    return _together(named), _together(orders), secrets


def _proof(side: Side, secrets: Sequence[Rows]) -> bytes:
    """Of the secrets of any set of keys: who lacks one cannot tell their sum from random."""
    total = np.zeros(KEY_BYTES // 8, np.uint64)
    for part in secrets:
        total ^= np.bitwise_xor.reduce(np.ascontiguousarray(part).view(np.uint64), axis=0)
    count = sum(map(len, secrets)).to_bytes(8, "big")
    return sm3.digest(b"liutong/psi/proof/v1" + side.session.binding + count + total.tobytes())


def _together(parts: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Parts one after the other; a single one is not copied."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _joined(side: Side, pieces: list[tuple[int, Numbers, Rows]]) -> Found:
    width = side.peer_label_bytes
    return Found(
        sum(keys for keys, _, _ in pieces),
        np.concatenate([np.empty(0, np.int64), *(rows for _, rows, _ in pieces)]),
        np.concatenate([np.empty((0, width), np.uint8), *(plain for _, _, plain in pieces)]),
    )
