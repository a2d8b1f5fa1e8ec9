"""A key-value map in which every key reads three slots: binary fuse filters that hold values.

The value of a key is the byte-wise sum modulo 256 of its three slots, so one PIR query that selects three
columns retrieves it. A key that is not in the map reads bytes that look random, and slots that no key decides
are filled with pseudorandom bytes: under values that look random, the slots are independent of the keys.

Keys are divided over ``stack`` buckets of equal shape, a filter each, so that a column can hold a slot of
every bucket. Source: Graf, Lemire, "Binary Fuse Filters", ACM JEA 2022, section 4; as a map for PIR: Celi,
Davidson, "Call Me By My Name: Simple, Practical Private Information Retrieval for Keyword Queries", CCS 2024.

Everything works on whole arrays: peeling goes in rounds, each of which takes all keys alone in a slot.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from accel import sm3
from compute.errors import ProtocolAbort

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]
ARITY = 3
SEED_BYTES = 16
SALT_BYTES = 4
_MAX_SEGMENT = 1 << 18
# From so many keys on, segments half as long as the paper's peel as often, and rounding wastes less.
_FINE = 3000
_ATTEMPTS = 200
_BUCKET = b"liutong/pir/bucket/v2\0"
_SLOT = b"liutong/pir/slot/v2\0"
# What derives public randomness from a secret: ``derive(purpose, number of bytes)``.
Derive = Callable[[str, int], bytes]


@dataclass(frozen=True)
class Shape:
    """How many slots a bucket has and how keys spread over them; a function of the number of keys."""

    segment_length: int
    segment_count: int

    @property
    def slots(self) -> int:
        """Length of the slot array."""
        return (self.segment_count + ARITY - 1) * self.segment_length


def shape(count: int) -> Shape:
    """The shape for ``count`` keys: about 1.13 slots per key for many, more for few."""
    length = 4
    if count > 1:
        length = min(_MAX_SEGMENT, 1 << math.floor(math.log(count) / math.log(3.33) + 2.25))
    if count >= _FINE:
        length //= 2
    capacity = 0
    if count > 1:
        capacity = round(count * max(1.125, 0.875 + 0.25 * math.log(1_000_000) / math.log(count)))
    return Shape(length, max(1, -(-capacity // length) - (ARITY - 1)))


def bucket_capacity(count: int, stack: int) -> int:
    """Keys that a bucket has room for: what a random division seldom exceeds in any of them."""
    if stack == 1:
        return count
    mean = count / stack
    # The largest of n deviations is about sqrt(2 ln n) standard deviations; one more, and another seed helps.
    return math.ceil(mean + (math.sqrt(2 * math.log(stack)) + 1) * math.sqrt(mean) + 2)


@dataclass(frozen=True)
class Places:
    """Where keys are: ``buckets`` (n,), ``slots`` (n, 3), all different in a row."""

    buckets: I64
    slots: I64


def buckets_of(labels: U8, seed: bytes, stack: int) -> I64:
    """The bucket of every label; ``labels`` (n, 32)."""
    if stack == 1:
        return np.zeros(len(labels), np.int64)
    words = _words(labels, _BUCKET + seed)[:, 0] >> np.uint64(32)
    return ((words * np.uint64(stack)) >> np.uint64(32)).astype(np.int64)


def places_of(labels: U8, seed: bytes, salts: bytes, stack: int, form: Shape) -> Places:
    """Bucket and slots of every label: three consecutive segments of the bucket."""
    buckets = buckets_of(labels, seed, stack)
    return Places(buckets, _slots(labels, seed, _salt_rows(salts)[buckets], form))


def _slots(labels: U8, seed: bytes, salts: U8, form: Shape) -> I64:
    prefix = np.empty((len(labels), len(_SLOT) + SEED_BYTES + SALT_BYTES), np.uint8)
    prefix[:, :-SALT_BYTES] = np.frombuffer(_SLOT + seed, np.uint8)
    prefix[:, -SALT_BYTES:] = salts
    words = _words(labels, prefix)
    span = np.uint64(form.segment_count * form.segment_length)
    mask = np.uint64(form.segment_length - 1)
    # 32 bits times at most 2^20 slots: an exact multiply-and-shift into the span.
    first = ((words[:, 0] >> np.uint64(32)) * span) >> np.uint64(32)
    second = (first + np.uint64(form.segment_length)) ^ (words[:, 1] & mask)
    third = (first + np.uint64(2 * form.segment_length)) ^ (words[:, 2] & mask)
    return np.stack([first, second, third], axis=1).astype(np.int64)


def _words(labels: U8, prefix: bytes | U8) -> npt.NDArray[np.uint64]:
    return sm3.digest_many(labels, prefix=prefix).view("<u8").astype(np.uint64, copy=False)


def _salt_rows(salts: bytes) -> U8:
    return np.frombuffer(salts, np.uint8).reshape(-1, SALT_BYTES)


@dataclass(frozen=True, repr=False)
class Map:
    """A solved map: ``seed`` and ``salts`` are public; ``rounds`` is the order in which keys were peeled.

    A round is (keys, their own slot, their two other slots), slots counted over all buckets.
    """

    seed: bytes
    salts: bytes
    size: int
    rounds: tuple[tuple[I64, I64, I64], ...]

    def fill(self, values: U8, background: U8) -> U8:
        """The slots, shape (size, width), that give key i ``values[i]``; writes into ``background``."""
        # Backwards through the peeling: the slot a key was peeled by is read by no key that is still to come.
        for keys, own, others in reversed(self.rounds):
            background[own] = values[keys] - background[others[:, 0]] - background[others[:, 1]]
        return background


def solve(labels: U8, seed: bytes, salts: bytes, stack: int) -> Map:
    """The map of labels (n, 32) under seeds that `build` found for them. Raises ProtocolAbort for others."""
    form = shape(bucket_capacity(len(labels), stack))
    places = places_of(labels, seed, salts, stack, form)
    slots = places.slots + places.buckets[:, None] * form.slots
    found, left = _peel(slots, stack * form.slots)
    if left.size:
        raise ProtocolAbort("these seeds give no keyword map of these keys")
    rounds = tuple((keys, own, _others(slots[keys], own)) for keys, own in found)
    return Map(seed, salts, stack * form.slots, rounds)


def build(labels: U8, stack: int, derive: Derive) -> Map:
    """A map for distinct labels (n, 32) in ``stack`` buckets.

    Seeds come from ``derive``; those that failed are not told to anyone, since a failure says something about
    the keys. Raises ProtocolAbort if none works, which has no practical probability for distinct labels.
    """
    form = shape(bucket_capacity(len(labels), stack))
    seed, buckets = _divide(labels, stack, derive)
    salts = _salt_rows(derive("salts", SALT_BYTES * stack)).copy()
    pending, rounds = np.arange(len(labels), dtype=np.int64), []
    for attempt in range(_ATTEMPTS):
        own_buckets = buckets[pending]
        slots = _slots(labels[pending], seed, salts[own_buckets], form) + own_buckets[:, None] * form.slots
        found, left = _peel(slots, stack * form.slots)
        failed = np.zeros(stack, np.bool_)
        failed[own_buckets[left]] = True
        for keys, own in found:
            good = ~failed[own_buckets[keys]]
            keys, own = keys[good], own[good]
            rounds.append((pending[keys], own, _others(slots[keys], own)))
        if not failed.any():
            return Map(seed, salts.tobytes(), stack * form.slots, tuple(rounds))
        again = _salt_rows(derive(f"salts {attempt}", SALT_BYTES * stack))
        salts[failed] = again[failed]
        pending = pending[failed[own_buckets]]
    raise ProtocolAbort("no seed gives a keyword map: are the keys distinct?")


def _others(slots: I64, own: I64) -> I64:
    others: I64 = slots[slots != own[:, None]].reshape(-1, ARITY - 1)
    return others


def _divide(labels: U8, stack: int, derive: Derive) -> tuple[bytes, I64]:
    """A seed under which no bucket gets more keys than it has room for."""
    room = bucket_capacity(len(labels), stack)
    for attempt in range(_ATTEMPTS):
        seed = derive(f"filter {attempt}", SEED_BYTES)
        buckets = buckets_of(labels, seed, stack)
        if np.bincount(buckets, minlength=stack).max(initial=0) <= room:
            return seed, buckets
    raise ProtocolAbort("no seed divides the keys evenly: are they distinct?")


def _peel(places: I64, size: int) -> tuple[list[tuple[I64, I64]], I64]:
    """Rounds of (keys, slot that only they read among what is left), and the keys that cannot be peeled."""
    count = np.bincount(places.reshape(-1), minlength=size)
    # The sum of the keys that read a slot: the key itself once only one is left. Exact below 2^53.
    readers = np.zeros(size, np.int64)
    numbers = np.repeat(np.arange(len(places), dtype=np.int64), ARITY)
    np.add.at(readers, places.reshape(-1), numbers)
    left = np.ones(len(places), np.bool_)
    rounds = []
    alone = np.flatnonzero(count == 1)
    while alone.size:
        keys, index = np.unique(readers[alone], return_index=True)
        rounds.append((keys, alone[index]))
        left[keys] = False
        touched = places[keys].reshape(-1)
        np.subtract.at(count, touched, 1)
        np.subtract.at(readers, touched, np.repeat(keys, ARITY))
        touched = touched[count[touched] == 1]
        alone = np.unique(touched)
    return rounds, np.flatnonzero(left)
