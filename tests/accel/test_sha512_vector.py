"""expand_message_xmd in vector lanes against hashlib."""

import random

import numpy as np
import pytest

from accel import features
from accel.reference import curve25519 as reference

sha512_vector = pytest.importorskip("accel.cpu.sha512_vector")

LANES = [4, 8] if features.lacks("avx512f") is None else [4]


def uniform_bytes(lanes, items, dst):
    tag = sha512_vector.prepare(dst)
    numbers = tuple(range(lanes))
    vectors = -(-len(items) // lanes)
    offsets = np.concatenate([[0], np.cumsum([len(item) for item in items])]).astype(np.int64)
    data = np.frombuffer(b"".join(items) + bytes(sha512_vector.SLACK), dtype=np.uint8)
    output = np.empty(vectors * 2 * sha512_vector.WORDS * lanes, dtype=np.uint64)
    zeros = sha512_vector.state_after_zeros(numbers)
    sha512_vector.expand(
        numbers, data, offsets, 0, len(items), tag.after_message, tag.length, tag.blocks, zeros, output
    )
    words = output.reshape(vectors, 2, sha512_vector.WORDS, lanes)
    assert not words[:, :, 6:].any()
    elements = words[:, :, 5::-1].transpose(0, 3, 1, 2).reshape(-1, 12)[: len(items)]
    return [row.astype(">u8").tobytes() for row in elements]


def test_constants_are_those_of_fips_180_4():
    assert f"{int(sha512_vector.K[0]):016x}" == "428a2f98d728ae22"
    assert f"{int(sha512_vector.K[79]):016x}" == "6c44198c4a475817"
    assert f"{int(sha512_vector.INITIAL[0]):016x}" == "6a09e667f3bcc908"
    assert f"{int(sha512_vector.INITIAL[7]):016x}" == "5be0cd19137e2179"


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("tag_length", [1, 50, 111, 112, 239, 255, 256, 300])
def test_lanes_of_mixed_lengths_equal_the_reference(lanes, tag_length):
    source = random.Random(tag_length)
    dst = source.randbytes(tag_length)
    items = [source.randbytes(source.choice([0, 1, 16, 107, 128, 1000])) for _ in range(2 * lanes + 3)]
    assert uniform_bytes(lanes, items, dst) == [reference.expand_message_xmd(item, dst, 96) for item in items]


@pytest.mark.parametrize("lanes", LANES)
def test_every_padding_position(lanes):
    items = [bytes([length % 251]) * length for length in range(270)]
    assert uniform_bytes(lanes, items, b"tag") == [
        reference.expand_message_xmd(item, b"tag", 96) for item in items
    ]
