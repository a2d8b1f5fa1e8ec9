import hashlib
import hmac

import pytest
from gmssl import sm3 as gmssl_sm3
from hypothesis import given
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
