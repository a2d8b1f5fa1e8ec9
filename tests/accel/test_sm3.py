import hashlib
import hmac

import numpy as np
import pytest
from gmssl import sm3 as gmssl_sm3
from hypothesis import given, settings
from hypothesis import strategies as st

from accel import selftest, sm3
from accel.errors import BadParameter


@pytest.mark.parametrize("backend", sm3.DIGEST.available())
@pytest.mark.parametrize("case", selftest.vectors("sm3")["digest"], ids=lambda case: case["comment"])
def test_digest_agrees_with_the_standard(backend, case):
    assert sm3.digest(bytes.fromhex(case["message"]), backend=backend).hex() == case["digest"]


@pytest.mark.parametrize("length", [0, 1, 54, 55, 56, 57, 63, 64, 65, 119, 120, 128, 1000])
def test_backends_and_gmssl_agree_around_block_edges(length):
    data = bytes(i % 251 for i in range(length))
    expected = gmssl_sm3.sm3_hash(list(data))
    for backend in sm3.DIGEST.available():
        assert sm3.digest(data, backend=backend).hex() == expected


@given(st.lists(st.binary(max_size=100), max_size=6))
def test_pieces_give_the_digest_of_the_whole(pieces):
    hasher = sm3.new()
    for piece in pieces:
        hasher.update(piece)
        hasher.digest()  # reading in between must not disturb
    assert hasher.digest() == sm3.digest(b"".join(pieces))


@pytest.mark.parametrize("key_length", [0, 1, 32, 63, 64, 65, 200])
def test_hmac_is_the_construction_of_rfc_2104(key_length):
    key = bytes(range(key_length))
    block = (sm3.digest(key) if len(key) > 64 else key).ljust(64, b"\0")
    inner = sm3.digest(bytes(b ^ 0x36 for b in block) + b"data")
    assert sm3.hmac(key, b"data") == sm3.digest(bytes(b ^ 0x5C for b in block) + inner)


@pytest.mark.skipif("sm3" not in hashlib.algorithms_available, reason="hashlib here has no SM3")
def test_hmac_agrees_with_hashlib():
    assert sm3.hmac(b"key", b"data") == hmac.digest(b"key", b"data", "sm3")


@pytest.mark.parametrize("length", [0, 1, 31, 32, 33, 64, 100])
def test_kdf_agrees_with_gmssl_and_with_its_definition(length):
    secret = bytes(range(64))
    stream = b"".join(sm3.digest(secret + i.to_bytes(4, "big")) for i in range(1, 5))
    assert sm3.kdf(secret, length) == stream[:length]
    if length:
        assert sm3.kdf(secret, length).hex() == gmssl_sm3.sm3_kdf(secret.hex().encode(), length)


def test_kdf_length_out_of_range_is_refused():
    for length in (-1, 32 * 2**32):
        with pytest.raises(BadParameter):
            sm3.kdf(b"z", length)


BATCHES = [name for name in sm3.DIGEST_MANY.available() if name != "reference"]
EDGE_LENGTHS = [0, 1, 7, 8, 54, 55, 56, 57, 63, 64, 65, 119, 120, 121, 127, 128, 129, 183, 184, 500, 3, 3, 64]


def strings(lengths):
    return [bytes((7 * i + j) % 256 for j in range(length)) for i, length in enumerate(lengths)]


@pytest.mark.parametrize("backend", BATCHES)
@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 15, 16, 17, 1000, 2100])
def test_batch_digests_equal_single_ones_for_every_batch_size(backend, count):
    lengths = [EDGE_LENGTHS[i % len(EDGE_LENGTHS)] for i in range(count)]
    messages = strings(lengths)
    got = sm3.digest_many(messages, backend=backend)
    assert got.shape == (count, 32)
    assert [row.tobytes() for row in got] == [sm3.digest(message) for message in messages]


@pytest.mark.parametrize("backend", sm3.DIGEST_MANY.available())
@pytest.mark.parametrize("length", [0, 1, 32, 55, 56, 64, 65, 100])
def test_rows_of_a_matrix_are_messages(backend, length):
    matrix = np.frombuffer(bytes(range(256)) * 8, np.uint8)[: 17 * length].reshape(17, length)
    expected = [sm3.digest(row.tobytes()) for row in matrix]
    assert [row.tobytes() for row in sm3.digest_many(matrix, backend=backend)] == expected
    sliced = np.repeat(matrix, 2, axis=0)[::2]
    assert [row.tobytes() for row in sm3.digest_many(sliced, backend=backend)] == expected


@pytest.mark.parametrize("backend", BATCHES)
@given(messages=st.lists(st.binary(max_size=150), max_size=40), prefix=st.binary(max_size=70))
@settings(max_examples=40, deadline=None)
def test_prefix_goes_before_every_message(backend, messages, prefix):
    expected = [sm3.digest(prefix + message) for message in messages]
    got = sm3.digest_many(messages, prefix=prefix, backend=backend)
    assert [row.tobytes() for row in got] == expected
    each = np.frombuffer(prefix * len(messages), np.uint8).reshape(len(messages), len(prefix))
    got = sm3.digest_many(messages, prefix=each, backend=backend)
    assert [row.tobytes() for row in got] == expected


def test_batches_take_every_kind_of_buffer_and_refuse_the_rest():
    kinds = [b"abc", bytearray(b"abc"), memoryview(b"abc"), memoryview(b"abcd").cast("I")]
    expected = [sm3.digest(data) for data in (b"abc", b"abc", b"abc", b"abcd")]
    assert [row.tobytes() for row in sm3.digest_many(kinds)] == expected
    with pytest.raises(BadParameter) as caught:
        sm3.digest_many([b"abc", "abc"])
    assert caught.value.detail["index"] == 1
    for bad in (np.zeros(4, np.uint8), np.zeros((2, 2), np.uint16)):
        with pytest.raises(BadParameter):
            sm3.digest_many(bad)
    with pytest.raises(BadParameter):
        sm3.digest_many([b"abc"], prefix=np.zeros((2, 3), np.uint8))


@pytest.mark.parametrize("backend", sm3.HMAC_MANY.available())
@pytest.mark.parametrize("case", selftest.vectors("sm3")["hmac"], ids=lambda case: case["comment"])
def test_hmac_agrees_with_the_vectors(backend, case):
    key, message = bytes.fromhex(case["key"]), bytes.fromhex(case["message"])
    assert sm3.hmac(key, message).hex() == case["hmac"]
    for keys in (key, [key] * 3):
        got = sm3.hmac_many(keys, [message] * 3, backend=backend)
        assert [row.tobytes().hex() for row in got] == [case["hmac"]] * 3


@pytest.mark.parametrize("backend", BATCHES)
@pytest.mark.parametrize("count", [0, 1, 9, 17])
def test_each_message_has_its_own_key(backend, count):
    keys, messages = strings(EDGE_LENGTHS[:count]), strings(EDGE_LENGTHS[::-1][:count])
    got = sm3.hmac_many(keys, messages, backend=backend)
    expected = [sm3.hmac(key, message) for key, message in zip(keys, messages, strict=True)]
    assert [row.tobytes() for row in got] == expected


def test_keys_in_a_matrix_may_be_longer_than_a_block():
    for width in (20, 64, 80):
        keys = np.arange(5 * width).astype(np.uint8).reshape(5, width)
        expected = [sm3.hmac(key.tobytes(), b"message") for key in keys]
        assert [row.tobytes() for row in sm3.hmac_many(keys, [b"message"] * 5)] == expected
    with pytest.raises(BadParameter):
        sm3.hmac_many(keys, [b"message"] * 4)


@pytest.mark.parametrize("backend", BATCHES)
@pytest.mark.parametrize("length", [0, 1, 31, 32, 33, 100])
def test_batch_derivation_equals_the_single_one(backend, length):
    secrets = np.arange(64 * 9).astype(np.uint8).reshape(9, 64)
    expected = [sm3.kdf(row.tobytes(), length) for row in secrets]
    assert [row.tobytes() for row in sm3.kdf_many(secrets, length, backend=backend)] == expected
    mixed = strings([0, 5, 64, 70])
    expected = [sm3.kdf(secret, length) for secret in mixed]
    assert [row.tobytes() for row in sm3.kdf_many(mixed, length, backend=backend)] == expected


def test_a_secret_that_is_no_byte_string_is_refused():
    for secrets in (b"one byte string", [5], ["text"]):
        with pytest.raises(BadParameter):
            sm3.kdf_many(secrets, 16)


def test_more_than_one_thread_gives_the_same_digests(monkeypatch):
    messages = np.arange(64 * 5000).astype(np.uint8).reshape(5000, 64)
    monkeypatch.setenv("LIUTONG_THREADS", "1")
    alone = sm3.digest_many(messages)
    monkeypatch.setenv("LIUTONG_THREADS", "3")
    assert (sm3.digest_many(messages) == alone).all()


@pytest.mark.parametrize("backend", sm3.DIGEST_JOINED.available())
@pytest.mark.parametrize("widths", [(8,), (16, 32), (8, 0, 40), (24, 24)])
def test_joined_parts_are_digested_as_one_message(backend, widths):
    octets = np.random.default_rng(sum(widths)).integers(0, 256, (37, 48), dtype=np.uint8)
    parts = [octets[:, :width] for width in widths]
    for count in (0, 1, 8, 37):
        for first in (parts[0][:1], parts[0][:count]):
            given = [first if len(parts) > 1 else parts[0][:count], *(part[:count] for part in parts[1:])]
            if len(given[0]) not in (1, count):
                continue
            rows = [np.broadcast_to(part, (count, part.shape[1])) for part in given]
            expected = sm3.digest_many(np.concatenate(rows, axis=1), backend="reference")
            assert (sm3.digest_joined(given, backend=backend) == expected).all()


def test_parts_that_do_not_fit_a_block_are_refused():
    eight = np.zeros((3, 8), np.uint8)
    for parts in ([], [eight[:2], eight], [eight[:, :7]], [eight] * 7, [eight.view(np.uint64)]):
        with pytest.raises(BadParameter, match="parts"):
            sm3.digest_joined(parts)
