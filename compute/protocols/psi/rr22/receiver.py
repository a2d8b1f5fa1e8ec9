"""The receiver's part: it knows the noise, puts its items into a table, and evaluates F at those alone."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from accel import expand_accumulate, okvs, sm3
from accel.errors import DuplicateItem, EncodingFailed
from compute.errors import BadInput, ProtocolAbort
from compute.protocols.protocol import Call, Part, Session, compute
from compute.protocols.psi.oprf import OUTPUT_BYTES, Items
from compute.protocols.psi.rr22 import base_ot, items, subspace_vole, vole
from compute.protocols.psi.rr22.bucket import Bucket
from compute.protocols.psi.rr22.parameters import BLOCK_BYTES, Mode, Shape
from compute.protocols.psi.rr22.subspace_vole import DIGEST_BYTES, KEY_BITS, Extension
from compute.protocols.psi.rr22.wire import CORRELATE, TABLE, receive_bytes, send_bytes

U8 = npt.NDArray[np.uint8]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

# A first table fails with probability 2^-40; who fails thrice has no random hash.
_ATTEMPTS = 3


class Answer(NamedTuple):
    """What the first call makes: reply, flips and most of the extension cross; the rest is kept."""

    reply: U8
    flips: U8
    extension: Extension
    points: I64


class Encoded(NamedTuple):
    """A table (outputs, words) with its seed."""

    seed: bytes
    table: U64


class _State:
    """What the receiver knows of a bucket while it runs; freed piece by piece."""

    def __init__(self, session: Session, bucket: Bucket, shape: Shape) -> None:
        self.shape, self.context, self.own = shape, bucket.context, bucket.own
        self.share = session.rng(BLOCK_BYTES) if shape.mode.checked else b""
        self.code_seed = session.rng(expand_accumulate.SEED_BYTES)
        self.commitment = b""
        self.hashed: U8
        self.columns: U64
        self.bits: U64
        self.points: I64
        self.encoded: Encoded
        self.leaves: U64
        self.a: U64
        self.c: U64


def run_receiver(session: Session, peer: str, mode: Mode, buckets: Sequence[Bucket]) -> Part[list[Items]]:
    """All steps of the receiver; F of its items per bucket."""
    states = [_State(session, bucket, bucket.shape) for bucket in buckets if bucket.shape]
    # The sender makes its points meanwhile.
    calls = [Call(items.digests, (state.own, state.context)) for state in states]
    for state, hashed in zip(states, (yield from compute(calls)), strict=True):
        state.hashed = hashed
    yield from _extend_columns(session, peer, states)
    if mode.checked:
        yield from _prove_columns(peer, states)
    # The sender makes its noise meanwhile.
    calls = [Call(encode, (s.shape, s.hashed, session.rng(BLOCK_BYTES), session.rng(32))) for s in states]
    for state, encoded in zip(states, (yield from compute(calls)), strict=True):
        state.encoded = encoded
    yield from _take_noise(session, peer, states)
    done = iter((yield from _evaluate(peer, states)))
    # Where the sender has nothing, F is anything that nobody else knows.
    return [
        next(done)
        if bucket.shape
        else np.frombuffer(session.rng(OUTPUT_BYTES * len(bucket.own)), np.uint8).reshape(-1, OUTPUT_BYTES)
        for bucket in buckets
    ]


def _extend_columns(session: Session, peer: str, states: list[_State]) -> Part[None]:
    calls = []
    for state in states:
        came = yield from receive_bytes(peer, state.shape.choose_bytes, CORRELATE)
        message = came.octets(KEY_BITS, 2, base_ot.POINT_BYTES)
        state.commitment = came.rest()
        arguments = (state.shape, state.context, message, session.rng(random_bytes(state.shape)))
        calls.append(Call(answer, arguments))
    for state, made in zip(states, (yield from compute(calls)), strict=True):
        extension = made.extension
        proof = (extension.tree_sums, extension.digest) if state.shape.mode.checked else ()
        parts = (made.reply, extension.sums, *proof, extension.corrections, made.flips, state.code_seed)
        state.columns, state.bits, state.points = extension.columns, extension.bits, made.points
        yield from send_bytes(peer, parts, CORRELATE)


def _prove_columns(peer: str, states: list[_State]) -> Part[None]:
    calls = []
    for state in states:
        challenge = (yield from receive_bytes(peer, BLOCK_BYTES, CORRELATE)).words(2)
        calls.append(Call(subspace_vole.fingerprint, (state.bits, state.columns, challenge)))
    for parts in (yield from compute(calls)):
        yield from send_bytes(peer, parts, CORRELATE)


def _take_noise(session: Session, peer: str, states: list[_State]) -> Part[None]:
    noisy = [state for state in states if state.shape.noise]
    calls = []
    for state in noisy:
        shape = state.shape
        came = yield from receive_bytes(peer, shape.noise_bytes, CORRELATE)
        masked, corrections = came.words(shape.choices, 2, 2), came.words(shape.noise, 2)
        arguments = (shape, state.columns, state.points, masked, corrections, state.context)
        calls.append(Call(vole.take_noise, arguments))
    for state, leaves in zip(noisy, (yield from compute(calls)), strict=True):
        state.leaves = leaves
    expected = yield from _combine_noise(session, peer, [s for s in noisy if s.shape.combined])
    calls = []
    for state in states:
        if state.shape.noise:
            noise = (state.bits, state.points, state.leaves)
            calls.append(Call(vole.spread_noise, (state.shape, *noise, state.code_seed)))
            del state.leaves
        else:
            calls.append(Call(direct, (state.shape, state.bits, state.columns)))
        del state.columns, state.bits
    for state, (a, c) in zip(states, (yield from compute(calls)), strict=True):
        state.a, state.c = a, c
    # The sender answered meanwhile; nothing that depends on its noise has been sent.
    for digest in expected:
        came = yield from receive_bytes(peer, DIGEST_BYTES, CORRELATE)
        if not hmac.compare_digest(came.rest(), digest):
            raise ProtocolAbort(f"the noise that {peer} made does not fit together")


def _combine_noise(session: Session, peer: str, states: list[_State]) -> Part[list[bytes]]:
    """Ask for the digests of the sender's combinations; what they must be."""
    chosen = [np.frombuffer(session.rng(BLOCK_BYTES), np.uint64) for _ in states]
    calls = [
        Call(vole.combination, (s.shape, s.columns, s.bits, s.points, s.leaves, at))
        for s, at in zip(states, chosen, strict=True)
    ]
    expected = []
    for at, (masked, digest) in zip(chosen, (yield from compute(calls)), strict=True):
        expected.append(digest)
        yield from send_bytes(peer, (at, masked), CORRELATE)
    return expected


def _evaluate(peer: str, states: list[_State]) -> Part[tuple[Items, ...]]:
    for state in states:
        parts = (state.encoded.seed, state.share, state.a ^ state.encoded.table)
        del state.a
        yield from send_bytes(peer, parts, TABLE)
    calls = []
    for state in states:
        coin = b""
        if state.share:
            theirs = (yield from receive_bytes(peer, BLOCK_BYTES, TABLE)).rest()
            if not hmac.compare_digest(items.commitment(state.context, theirs), state.commitment):
                raise ProtocolAbort(f"{peer} opened another share of the coin than it committed to")
            coin = items.coin(theirs, state.share)
        encoded = state.encoded
        calls.append(Call(evaluate, (state.shape, state.c, coin, encoded.seed, state.hashed)))
        del state.c, state.encoded, state.hashed
    return (yield from compute(calls))


# What is done in calls: pure functions.


def random_bytes(shape: Shape) -> int:
    """Random bytes that `answer` uses up."""
    return KEY_BITS * base_ot.ANSWER_BYTES + (shape.mode.trees + shape.noise) * BLOCK_BYTES


def answer(shape: Shape, context: bytes, message: U8, randomness: bytes) -> Answer:
    """Answer the base transfers and extend them. Raises ProtocolAbort for invalid points."""
    scalars, rest = np.split(np.frombuffer(randomness, np.uint8), [KEY_BITS * base_ot.ANSWER_BYTES])
    roots, places = np.split(rest, [shape.mode.trees * BLOCK_BYTES])
    reply, keys = base_ot.answer(message, context, scalars.tobytes())
    extension = subspace_vole.extend(
        keys, roots.view(np.uint64).reshape(-1, 2), shape.blocks, shape.mode.tree_bits
    )
    if not shape.noise:
        return Answer(reply, np.zeros(0, np.uint8), extension, np.zeros(0, np.int64))
    points = vole.noise_points(shape, places.tobytes())
    return Answer(reply, vole.flips(shape, extension.bits, points), extension, points)


def encode(shape: Shape, hashed: U8, seed: bytes, randomness: bytes) -> Encoded:
    """Put H_B of the items into a table; another seed if that fails, ProtocolAbort if it fails thrice.

    Seeds under which the items have no table are never seen: that tells them from uniform ones by 2^-40.
    """
    values = items.values(hashed, shape.mode.words)
    for attempt in range(_ATTEMPTS):
        fresh = sm3.digest(bytes([attempt]) + seed)[:BLOCK_BYTES]
        try:
            table = okvs.encode(
                hashed, values, fresh, lambda count: randomness[:count], bin_items=shape.mode.bin_items
            )
        except EncodingFailed:
            continue
        except DuplicateItem as error:
            raise BadInput("an item occurs twice in a bucket") from error
        return Encoded(fresh, table)
    raise ProtocolAbort("no table holds these items")


def direct(shape: Shape, bits: U64, columns: U64) -> tuple[U64, U64]:
    """a (outputs, words) and c (outputs, 2) of a small table."""
    return vole.noise_values(shape, bits), vole.products(shape, columns)


def evaluate(shape: Shape, c: U64, coin: bytes, seed: bytes, hashed: U8) -> U8:
    """F of the receiver's items (n, 32)."""
    decoded = okvs.decode(c, hashed, seed, shape.count, bin_items=shape.mode.bin_items)
    return items.outputs(decoded, coin, hashed)
