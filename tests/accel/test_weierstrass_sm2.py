"""SM2 signatures on digests in batches, on every backend."""

import numpy as np
import pytest

from accel import selftest
from accel import weierstrass as ec
from accel.errors import BadParameter, InvalidPoint
from accel.reference import sm2 as reference
from accel.reference.weierstrass import ints, multiply_base, rows_of_ints
from accel.weierstrass_backends import SIGN_DIGESTS

N = ec.SM2.n
CASE = selftest.vectors("weierstrass")["sign_digests"][0]
D = np.frombuffer(bytes.fromhex(CASE["d"]), np.uint8)
PUBLIC = np.frombuffer(bytes.fromhex(CASE["public"]), np.uint8)

by_backend = pytest.mark.parametrize("backend", [b for b in SIGN_DIGESTS.available() if b != "reference"])


def draw(count, seed):
    rng = np.random.default_rng(seed)
    digests = rng.integers(0, 256, (count, 32), np.uint8)
    return digests, rows_of_ints(1 + int.from_bytes(rng.bytes(32), "big") % (N - 1) for _ in range(count))


def column(name):
    return np.frombuffer(bytes.fromhex(CASE[name]), np.uint8)[None]


@by_backend
def test_signature_of_the_standard(backend):
    signatures, usable = ec.sign_digests(D, column("e"), column("k"), backend=backend)
    assert signatures.tobytes().hex() == CASE["signature"]
    assert usable.all()
    assert ec.verify_digests(PUBLIC, column("e"), signatures, backend=backend).all()


@by_backend
@pytest.mark.parametrize("size", [1, 7, 8, 9, 15, 16, 17, 100])
def test_odd_batch_sizes_agree_with_the_reference(backend, size):
    digests, nonces = draw(size, size)
    signatures, usable = ec.sign_digests(D, digests, nonces, backend=backend)
    few = slice(max(0, size - 3), size)
    expected, _ = reference.sign_digests(D, digests[few], nonces[few])
    assert usable.all()
    assert np.array_equal(signatures[few], expected)
    assert ec.verify_digests(PUBLIC, digests, signatures, backend=backend).all()
    signatures[size // 2, 40] ^= 1
    wrong = ~ec.verify_digests(PUBLIC, digests, signatures, backend=backend)
    assert np.flatnonzero(wrong).tolist() == [size // 2]


@by_backend
def test_digests_at_the_borders_of_the_order(backend):
    digests = rows_of_ints([0, 1, N - 1, N, N + 1, 2**256 - 1, 2**255])
    _, nonces = draw(len(digests), 3)
    signatures, usable = ec.sign_digests(D, digests, nonces, backend=backend)
    assert np.array_equal(signatures, reference.sign_digests(D, digests, nonces)[0])
    assert usable.all()
    assert ec.verify_digests(PUBLIC, digests, signatures, backend=backend).all()


@by_backend
def test_nonces_that_give_no_signature_are_told(backend):
    """r = 0, r + k = n and s = 0, by choosing the digest to the nonce."""
    (d,) = ints(D[None])
    nonces = rows_of_ints([12345, 67890, 24680, 13579])
    xs = ints(multiply_base(ec.SM2, nonces)[:, :32])
    k = ints(nonces)
    digests = rows_of_ints([-xs[0] % N, (N - k[1] - xs[1]) % N, (k[2] * pow(d, -1, N) - xs[2]) % N, 5])
    signatures, usable = ec.sign_digests(D, digests, nonces, backend=backend)
    assert usable.tolist() == [False, False, False, True]
    assert not signatures[:3].any()
    assert signatures[3].any()


@by_backend
def test_signatures_out_of_range_do_not_verify(backend):
    digests, nonces = draw(1, 9)
    signature, _ = ec.sign_digests(D, digests, nonces, backend=backend)
    (r,), (s,) = ints(signature[:, :32]), ints(signature[:, 32:])
    pairs = [
        (r, s),
        (0, s),
        (r, 0),
        (r, N - r),
        (N, s),
        (r, N),
        (r, s ^ 1),
        (r ^ 1, s),
        (2**256 - 1, s),
        (s, r),
    ]
    pairs += [(r + N, s)] if r + N < 2**256 else []
    pairs += [(r, s + N)] if s + N < 2**256 else []
    signatures = rows_of_ints(value for pair in pairs for value in pair).reshape(-1, 64)
    many = np.tile(digests, (len(pairs), 1))
    outcome = ec.verify_digests(PUBLIC, many, signatures, backend=backend)
    assert outcome.tolist() == [True] + [False] * (len(pairs) - 1)
    assert np.array_equal(outcome, reference.verify_digests(PUBLIC[None], many, signatures))


@by_backend
def test_every_row_may_have_its_own_key(backend):
    secrets = rows_of_ints([3, N - 2, 5 << 200])
    publics = ec.multiply_base(ec.SM2, secrets, backend=backend)
    digests, nonces = draw(3, 11)
    rows = [
        ec.sign_digests(d, digests[i : i + 1], nonces[i : i + 1], backend=backend)[0]
        for i, d in enumerate(secrets)
    ]
    signatures = np.concatenate(rows)
    assert ec.verify_digests(publics, digests, signatures, backend=backend).all()
    assert not ec.verify_digests(publics[[1, 2, 0]], digests, signatures, backend=backend).any()


def test_bad_arguments_are_refused():
    digests, nonces = draw(3, 13)
    signatures, _ = ec.sign_digests(D, digests, nonces)
    nonces[1] = 0
    with pytest.raises(BadParameter) as caught:
        ec.sign_digests(D, digests, nonces)
    assert caught.value.detail["index"] == 1
    for d in (rows_of_ints([0])[0], rows_of_ints([N - 1])[0], D[:31], D.astype(np.int64), D[None]):
        with pytest.raises(BadParameter):
            ec.sign_digests(d, digests[:1], draw(1, 1)[1])
    with pytest.raises(BadParameter):
        ec.sign_digests(D, digests, draw(2, 1)[1])
    with pytest.raises(BadParameter):
        ec.verify_digests(PUBLIC, digests[:2], signatures)
    off = np.tile(PUBLIC, (3, 1))
    off[2, 0] ^= 1
    with pytest.raises(InvalidPoint) as caught_point:
        ec.verify_digests(off, digests, signatures)
    assert caught_point.value.detail["index"] == 2


def test_empty_batches():
    none = np.zeros((0, 32), np.uint8)
    signatures, usable = ec.sign_digests(D, none, none)
    assert signatures.shape == (0, 64)
    assert usable.shape == (0,)
    assert ec.verify_digests(PUBLIC, none, signatures).shape == (0,)
