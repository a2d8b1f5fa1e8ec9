"""The sender's part: it holds a key Δ per bucket and can evaluate F wherever it likes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from accel import gf128, okvs
from compute.protocols.protocol import Call, Part, Session, compute
from compute.protocols.psi.oprf import OUTPUT_BYTES, Items
from compute.protocols.psi.rr22 import base_ot, items, subspace_vole, vole
from compute.protocols.psi.rr22.bucket import Bucket
from compute.protocols.psi.rr22.parameters import BLOCK_BYTES, Mode, Shape
from compute.protocols.psi.rr22.subspace_vole import DIGEST_BYTES, KEY_BITS
from compute.protocols.psi.rr22.wire import CORRELATE, TABLE, receive_bytes, send_bytes

U8 = npt.NDArray[np.uint8]
U64 = npt.NDArray[np.uint64]


class _State:
    """What the sender knows of a bucket while it runs; freed piece by piece."""

    def __init__(self, session: Session, bucket: Bucket, shape: Shape) -> None:
        self.shape, self.context, self.own = shape, bucket.context, bucket.own
        self.key: U64 = np.frombuffer(session.rng(BLOCK_BYTES), np.uint64)
        self.share = session.rng(BLOCK_BYTES) if shape.mode.checked else b""
        self.hashed: U8
        self.message: U8
        self.exponents: U8
        self.flips: U8
        self.code_seed: bytes
        self.columns: U64
        self.leaves: U64
        self.b: U64


def run_sender(session: Session, peer: str, mode: Mode, buckets: Sequence[Bucket]) -> Part[list[Items]]:
    """All steps of the sender; F of its items per bucket."""
    states = [_State(session, bucket, bucket.shape) for bucket in buckets if bucket.shape]
    yield from _hold_columns(session, peer, states)
    if mode.checked:
        yield from _check_columns(session, peer, states)
    yield from _offer_noise(session, peer, states)
    done = iter((yield from _evaluate(peer, states)))
    # Where the receiver has nothing, F is anything that nobody else knows.
    return [
        next(done)
        if bucket.shape
        else np.frombuffer(session.rng(OUTPUT_BYTES * len(bucket.own)), np.uint8).reshape(-1, OUTPUT_BYTES)
        for bucket in buckets
    ]


def _hold_columns(session: Session, peer: str, states: list[_State]) -> Part[None]:
    calls = [
        Call(choose, (state.key, state.context, session.rng(KEY_BITS * base_ot.CHOOSE_BYTES)))
        for state in states
    ]
    for state, (message, exponents) in zip(states, (yield from compute(calls)), strict=True):
        state.message, state.exponents = message, exponents
        commitment = items.commitment(state.context, state.share) if state.share else b""
        yield from send_bytes(peer, (message, commitment), CORRELATE)
    # The receiver makes its trees meanwhile.
    calls = [Call(items.digests, (state.own, state.context)) for state in states]
    for state, hashed in zip(states, (yield from compute(calls)), strict=True):
        state.hashed = hashed
    calls = []
    for state in states:
        shape, mode = state.shape, state.shape.mode
        came = yield from receive_bytes(peer, shape.extend_bytes, CORRELATE)
        arguments = (
            came.octets(KEY_BITS, base_ot.POINT_BYTES),
            came.words(KEY_BITS, 2, 2),
            came.words(mode.trees, 2, 2) if mode.checked else np.zeros((0, 2, 2), np.uint64),
            came.octets(DIGEST_BYTES) if mode.checked else np.zeros(0, np.uint8),
            came.words(mode.trees - 1, shape.blocks, 2),
        )
        state.flips, state.code_seed = came.octets(shape.flip_bytes), came.rest()
        own = (shape, state.key, state.context, state.message, state.exponents)
        calls.append(Call(hold, (*own, *arguments)))
    for state, columns in zip(states, (yield from compute(calls)), strict=True):
        state.columns = columns


def _check_columns(session: Session, peer: str, states: list[_State]) -> Part[None]:
    challenges = [np.frombuffer(session.rng(BLOCK_BYTES), np.uint64) for _ in states]
    for challenge in challenges:
        yield from send_bytes(peer, (challenge,), CORRELATE)
    calls = []
    for state, challenge in zip(states, challenges, strict=True):
        came = yield from receive_bytes(peer, BLOCK_BYTES + DIGEST_BYTES, CORRELATE)
        bits_hash, digest = came.words(2), came.octets(DIGEST_BYTES)
        arguments = (state.key, state.columns, challenge, bits_hash, digest)
        calls.append(Call(subspace_vole.check_fingerprint, arguments))
    yield from compute(calls)


def _offer_noise(session: Session, peer: str, states: list[_State]) -> Part[None]:
    noisy = [state for state in states if state.shape.noise]
    calls = []
    for state in noisy:
        seeds = np.frombuffer(session.rng(state.shape.noise * BLOCK_BYTES), np.uint64).reshape(-1, 2)
        arguments = (state.shape, state.key, state.columns, state.flips, seeds, state.context)
        calls.append(Call(vole.offer_noise, arguments))
    for state, (leaves, masked, corrections) in zip(noisy, (yield from compute(calls)), strict=True):
        state.leaves = leaves
        yield from send_bytes(peer, (masked, corrections), CORRELATE)
    combined = [state for state in noisy if state.shape.combined]
    calls = []
    for state in combined:
        came = yield from receive_bytes(peer, 2 * BLOCK_BYTES, CORRELATE)
        at, masked = came.words(2), came.words(2)
        known = (state.key, state.columns, state.leaves)
        calls.append(Call(vole.combination_digest, (state.shape, *known, at, masked)))
    for digest in (yield from compute(calls)):
        yield from send_bytes(peer, (digest,), CORRELATE)
    calls = []
    for state in states:
        if state.shape.noise:
            calls.append(Call(vole.spread, (state.shape, state.leaves, state.code_seed)))
            del state.leaves
        else:
            calls.append(Call(vole.products, (state.shape, state.columns)))
        del state.columns
    for state, b in zip(states, (yield from compute(calls)), strict=True):
        state.b = b


def _evaluate(peer: str, states: list[_State]) -> Part[tuple[Items, ...]]:
    calls = []
    for state in states:
        shape = state.shape
        came = yield from receive_bytes(peer, shape.table_bytes, TABLE)
        seed = came.raw(BLOCK_BYTES)
        coin = b""
        if state.share:
            coin = items.coin(came.raw(BLOCK_BYTES), state.share)
            yield from send_bytes(peer, (state.share,), TABLE)
        table = came.words(shape.outputs, shape.mode.words)
        calls.append(Call(evaluate, (shape, state.key, state.b, seed, table, coin, state.hashed)))
        del state.b, state.hashed
    return (yield from compute(calls))


# What is done in calls: pure functions.


def choose(key: U64, context: bytes, randomness: bytes) -> tuple[U8, U8]:
    """The message of the base transfers (128, 2, 33) and the scalars to keep (128, 32)."""
    return base_ot.choose(_choices(key), context, randomness)


def hold(
    shape: Shape,
    key: U64,
    context: bytes,
    message: U8,
    exponents: U8,
    reply: U8,
    sums: U64,
    tree_sums: U64,
    digest: U8,
    corrections: U64,
) -> U64:
    """The columns of the key, from what the receiver sent. Raises ProtocolAbort for what does not fit."""
    keys = base_ot.finish(message, reply, _choices(key), exponents, context)
    columns, proofs = subspace_vole.hold(key, keys, sums, corrections, shape.mode.tree_bits)
    if shape.mode.checked:
        subspace_vole.check_trees(key, proofs, tree_sums, digest, shape.mode.tree_bits)
    return columns


def evaluate(shape: Shape, key: U64, b: U64, seed: bytes, table: U64, coin: bytes, hashed: U8) -> U8:
    """F of the sender's items (n, 32), from its b, the receiver's masked table and the items' digests."""
    masked = _times(table, key)
    masked ^= b
    decoded = okvs.decode(masked, hashed, seed, shape.count, bin_items=shape.mode.bin_items)
    decoded ^= _times(items.values(hashed, shape.mode.words), key)
    return items.outputs(decoded, coin, hashed)


def _times(values: U64, key: U64) -> U64:
    if values.shape[1] == 1:
        return gf128.multiply_subspace(np.ascontiguousarray(values[:, 0]), key)
    return gf128.multiply(values, key)


def _choices(key: U64) -> U8:
    # The tree of seeds is learnt everywhere but at the key's bits.
    return (1 - subspace_vole.key_bits(key)).astype(np.uint8)
