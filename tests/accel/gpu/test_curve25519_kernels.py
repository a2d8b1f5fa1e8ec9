"""X25519, hash to curve and validation as the GPU does them, run on the processor."""

from __future__ import annotations

import hashlib
import random

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from accel import selftest
from accel.errors import InvalidPoint
from accel.gpu import curve25519 as gpu
from accel.reference import curve25519 as reference
from tests.accel.gpu import host, sm90
from tests.accel.gpu.conftest import HostDevice

VECTORS = selftest.vectors("curve25519")
DST = VECTORS["dst"].encode()


@pytest.fixture(autouse=True)
def small_device(host_device: HostDevice) -> HostDevice:
    """So little memory that a thousand points take several pieces."""
    host_device.free = 50_000
    return host_device


def scalar(seed: int) -> bytes:
    raw = bytearray(random.Random(seed).randbytes(32))
    raw[0] &= 248
    raw[31] = raw[31] & 127 | 64
    return bytes(raw)


def test_hash_to_curve_gives_the_vectors_of_the_rfc() -> None:
    messages = [case["msg"].encode() for case in VECTORS["hash_to_curve"]]
    want = b"".join(bytes.fromhex(case["P_x"])[::-1] for case in VECTORS["hash_to_curve"])
    assert gpu.hash_to_curve(messages, DST) == want


@pytest.mark.parametrize("case", VECTORS["x25519"], ids=range(len(VECTORS["x25519"])))
def test_ladder_gives_the_vectors_of_the_rfc(case: dict[str, str]) -> None:
    k = bytearray.fromhex(case["scalar"])
    k[0] &= 248
    k[31] = k[31] & 127 | 64
    u = bytearray.fromhex(case["u"])
    u[31] &= 127
    assert gpu.scalar_mult_many(bytes(u), bytes(k)).hex() == case["result"]


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 15, 16, 17, 1000])
def test_hash_and_multiply_in_one_pass_is_both_one_after_the_other(count: int) -> None:
    messages = [b"item %d" % i for i in range(count)]
    points, k = gpu.hash_to_curve(messages, DST), scalar(1)
    products = gpu.scalar_mult_many(points, k)
    assert gpu.hash_and_multiply(messages, DST, k) == products
    assert points[:96] == reference.hash_to_curve(messages[:3], DST)
    key = X25519PrivateKey.from_private_bytes(k)
    for at in range(0, 32 * count, 32):
        peer = X25519PublicKey.from_public_bytes(points[at : at + 32])
        assert products[at : at + 32] == key.exchange(peer)


@pytest.mark.parametrize("tag_bytes", [1, 45, 46, 47, 110, 111, 112, 255, 256, 1000])
def test_every_length_of_message_and_tag_hashes_as_the_reference(tag_bytes: int) -> None:
    rng = random.Random(tag_bytes)
    # Around the ends of SHA-512's blocks of 128 bytes.
    lengths = [0, 1, 63, 64, 65, 107, 108, 109, 110, 111, 112, 127, 128, 129, 300]
    messages, tag = [rng.randbytes(n) for n in lengths], rng.randbytes(tag_bytes)
    got = gpu.hash_to_curve(messages, tag)
    want = reference.hash_to_curve(messages[:: 1 if tag_bytes == 45 else 5], tag)
    step = 1 if tag_bytes == 45 else 5
    assert b"".join(got[32 * i : 32 * i + 32] for i in range(0, len(lengths), step)) == want


def test_no_messages_and_empty_messages_are_fine() -> None:
    assert gpu.hash_to_curve([], DST) == b""
    assert gpu.hash_to_curve([b""], DST) == reference.hash_to_curve([b""], DST)
    assert gpu.find_invalid(b"") is None


@pytest.mark.parametrize("case", VECTORS["invalid"], ids=lambda case: case["comment"])
def test_validation_finds_the_bad_point(case: dict[str, str]) -> None:
    good = reference.hash_to_curve([b"a", b"b"], DST)
    found = gpu.find_invalid(good + bytes.fromhex(case["u"]) + good)
    assert found is not None
    index, reason = found
    assert index == 2
    assert case["reason"] in reason
    assert found == reference.find_invalid(good + bytes.fromhex(case["u"]) + good)
    assert gpu.find_invalid(good) is None


def test_product_zero_is_refused() -> None:
    good = reference.hash_to_curve([b"a"], DST)
    with pytest.raises(InvalidPoint) as raised:
        gpu.scalar_mult_many(good + bytes(32), scalar(2))
    assert raised.value.detail["index"] == 1


def test_secrets_do_not_stay_in_the_device(small_device: HostDevice) -> None:
    k, messages = scalar(3), [b"a private item of some length", b"another"]
    points = gpu.hash_to_curve(messages, DST)
    gpu.scalar_mult_many(points, k)
    gpu.hash_and_multiply(messages, DST, k)
    assert small_device.secrets
    assert not any(array.any() for array in small_device.secrets)
    left = b"".join(array.tobytes() for array in small_device.buffers)
    assert k not in left
    assert messages[0] not in left


def test_long_over_tags_are_hashed_first() -> None:
    tag = bytes(gpu.tag_row(b"t" * 300))
    assert tag == hashlib.sha512(b"H2C-OVERSIZE-DST-" + b"t" * 300).digest() + bytes([64])


def test_many_random_points_agree_with_openssl() -> None:
    library = host.library("x25519.cuh")
    rng, count = random.Random(7), 3000
    points = np.frombuffer(rng.randbytes(32 * count), np.uint8).reshape(-1, 32).copy()
    points[:, 31] &= 127
    k, got = scalar(9), np.zeros_like(points)
    host.run(
        library,
        "x25519_multiply",
        4,
        128,
        points,
        np.frombuffer(k, np.uint8).copy(),
        got,
        np.uint64(count),
    )
    key = X25519PrivateKey.from_private_bytes(k)
    for u, product in zip(points, got, strict=True):
        assert product.tobytes() == key.exchange(X25519PublicKey.from_public_bytes(u.tobytes()))


def test_kernels_keep_their_budgets_on_sm90() -> None:
    usage = sm90.usage("x25519.cuh")
    assert usage["x25519_multiply"].spilled == 0
    assert usage["x25519_validate"].spilled == 0
    # A step of the ladder is five products, four squares and a small factor; then one product by the inverse.
    assert usage["x25519_multiply"].wide <= 5 * 72 + 4 * 44 + 8 + 72 + 2
    # A few words around the calls of SHA-512, outside of the ladder.
    assert usage["curve25519_hash"].spilled <= 96
    assert all(kernel.registers <= 128 for kernel in usage.values())  # four blocks of 128 a multiprocessor
