"""SM2 and secp256k1 as the GPU computes them, run on the processor, against the other backends."""

from __future__ import annotations

import random

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec as openssl

from accel import selftest
from accel.gpu import weierstrass as gpu
from accel.gpu.base_table import ENTRIES, WINDOW_BITS, WINDOWS, base_table
from accel.reference import sm2 as reference_sm2
from accel.reference import sswu
from accel.reference import weierstrass as reference
from accel.reference.weierstrass import SECP256K1, SM2, Curve, Rows, rows_of_ints
from accel.weierstrass_backends import MULTIPLY, MULTIPLY_ADD, MULTIPLY_BASE, SIGN_DIGESTS
from tests.accel.gpu import sm90
from tests.accel.gpu.conftest import HostDevice

CURVES = pytest.mark.parametrize("curve", [SM2, SECP256K1], ids=lambda curve: curve.name)


@pytest.fixture(autouse=True)
def small_device(host_device: HostDevice) -> HostDevice:
    """So little memory that a few hundred points take several pieces."""
    host_device.free = 60_000
    return host_device


def edge_scalars(curve: Curve) -> list[int]:
    n = curve.n
    # Base: the last partial sum and the point of the top window are equal for 15 * 2^252 - n + 15 * 2^252.
    equal_at_top = [2 * top * 2**252 - n for top in range(9, 16)]
    # Any point: the same for n - 2 d, with d the lowest digit.
    equal_at_bottom = [n - 2 * d for d in range(1, 16, 2)]
    around = [1, 2, 3, 4, 15, 16, 17, n - 1, n - 2, n - 3, n - 15, n - 16, n // 2, n // 2 + 1]
    powers = [2**b + d for b in (6, 12, 64, 252, 253, 255) for d in (-1, 0, 1)]
    return [k for k in (*around, *powers, *equal_at_top, *equal_at_bottom) if 0 < k < n]


def scalars(curve: Curve, count: int, seed: int = 1) -> Rows:
    rng = random.Random(seed)
    return rows_of_ints(rng.randrange(1, curve.n) for _ in range(count)).reshape(-1, 32)


def portable(op: object, *arguments: object) -> object:
    return op.select("portable", batch=1)(*arguments)  # type: ignore[attr-defined]


@CURVES
def test_table_holds_odd_multiples_of_every_window(curve: Curve) -> None:
    table = base_table(curve)
    factor = 2**256 if curve == SM2 else 1
    for window, entry in ((0, 0), (0, ENTRIES - 1), (7, 5), (WINDOWS - 1, 0), (WINDOWS - 1, 15)):
        k = (2 * entry + 1) << WINDOW_BITS * window
        want = reference.multiply_point(curve, k, curve.g)
        assert want is not None
        got = [int.from_bytes(c.astype("<u4").tobytes(), "little") for c in table[window, entry]]
        assert got == [c * factor % curve.p for c in want]


@CURVES
def test_edge_scalars_times_base_and_point(curve: Curve) -> None:
    k = rows_of_ints(edge_scalars(curve))
    base = rows_of_ints(curve.g).reshape(1, 64)
    want = reference.multiply_base(curve, k)
    assert (gpu.multiply_base(curve, k) == want).all()
    assert (gpu.multiply(curve, base, k) == want).all()
    points = want[::-1].copy()
    assert (gpu.multiply(curve, points, k) == portable(MULTIPLY, curve, points, k)).all()


@CURVES
@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 15, 16, 17, 255, 256, 257, 1000])
def test_base_multiples_of_any_batch_size(curve: Curve, count: int) -> None:
    k = scalars(curve, count)
    assert (gpu.multiply_base(curve, k) == portable(MULTIPLY_BASE, curve, k)).all()


@CURVES
@pytest.mark.parametrize("count", [1, 7, 17, 300])
def test_point_multiples_row_by_row_and_with_one_row_for_all(curve: Curve, count: int) -> None:
    k, points = scalars(curve, count), portable(MULTIPLY_BASE, curve, scalars(curve, count, 2))
    assert isinstance(points, np.ndarray)
    for a, b in ((points, k), (points[:1], k), (points, k[:1])):
        assert (gpu.multiply(curve, a, b) == portable(MULTIPLY, curve, a, b)).all()


def test_base_multiples_agree_with_openssl() -> None:
    k = scalars(SECP256K1, 200, 5)
    for secret, row in zip(reference.ints(k), gpu.multiply_base(SECP256K1, k), strict=True):
        numbers = openssl.derive_private_key(secret, openssl.SECP256K1()).public_key().public_numbers()
        assert rows_of_ints([numbers.x, numbers.y]).tobytes() == row.tobytes()


@CURVES
def test_public_sums_meet_infinity_and_equal_points(curve: Curve) -> None:
    n, rng = curve.n, random.Random(3)
    special = [0, 1, 2, 5, n - 5, n - 2, n - 1]
    pairs = [(a, b) for a in special for b in special]
    pairs += [(rng.randrange(n), rng.randrange(n)) for _ in range(60)]
    u1, u2 = (rows_of_ints(column) for column in zip(*pairs, strict=True))
    bases = np.repeat(rows_of_ints(curve.g).reshape(1, 64), len(pairs), axis=0)
    bases[-30:] = reference.multiply_base(curve, scalars(curve, 30))
    for points in (bases, bases[-1:]):
        rows, infinite = gpu.multiply_add(curve, u1, points, u2)
        want, want_infinite = portable(MULTIPLY_ADD, curve, u1, points, u2)  # type: ignore[misc]
        assert (rows == want).all()
        assert (infinite == want_infinite).all()
    assert infinite[0]


@CURVES
def test_points_are_validated_and_decompressed(curve: Curve) -> None:
    rows = reference.multiply_base(curve, scalars(curve, 40))
    parity = np.array([i % 2 for i in range(42)], np.uint8)
    rows[::3, 63] ^= 1
    rows[1] = 255
    rows[2, :32] = rows_of_ints([curve.p + 1])[0]
    assert (gpu.on_curve(curve, rows) == reference.on_curve(curve, rows)).all()
    xs = np.concatenate([rows_of_ints([0, 5]), rows[:, :32]])
    got, found = gpu.decompress(curve, xs, parity)
    below = np.array([x < curve.p for x in reference.ints(xs)])
    want, want_found = reference.decompress(curve, xs[below], parity[below])
    assert (found[below] == want_found).all()
    assert (got[below] == want).all()
    assert not found[~below].any()
    assert 0 < want_found.sum() < len(want_found)


@CURVES
def test_hash_to_curve_maps_as_the_reference(curve: Curve) -> None:
    suite, rng = sswu.SUITES[curve.name], random.Random(4)
    # Z u^2 = -1 and u = 0 take the special case of the map.
    special = pow(-pow(suite.z, -1, curve.p), (curve.p + 1) // 4, curve.p)
    edges = [0, 1, 2, curve.p - 1, curve.p - 2, special, curve.p - special]
    values = [*edges, *(rng.randrange(curve.p) for _ in range(50))]
    pairs = [(v, w) for v in edges for w in edges] + list(zip(values, values[::-1], strict=True))
    elements = rows_of_ints(v for pair in pairs for v in pair).reshape(-1, 64)
    rows, infinite = gpu.map_to_curve(curve, elements)
    want, want_infinite = sswu.map_to_curve(curve, elements)
    assert (infinite == want_infinite).all()
    assert (rows == want).all()
    assert infinite.any()  # u and -u map to opposite points


@CURVES
def test_hash_to_curve_gives_the_vectors(curve: Curve) -> None:
    cases = [c for c in selftest.vectors("weierstrass")["hash_to_curve"] if c["curve"] == curve.name]
    elements = np.frombuffer(bytes.fromhex("".join(c["u"] for c in cases)), np.uint8).reshape(-1, 64)
    assert [row.tobytes().hex() for row in gpu.map_to_curve(curve, elements)[0]] == [
        c["point"] for c in cases
    ]


@pytest.mark.parametrize("count", [0, 1, 16, 17, 500])
def test_signatures_equal_the_portable_ones_and_verify(count: int) -> None:
    d, digests, nonces = scalars(SM2, 1, 6)[0], scalars(SM2, count, 7), scalars(SM2, count, 8)
    digests[:1], digests[1:2] = 255, 0
    signatures, served = gpu.sign_digests(d, digests, nonces)
    want, want_served = portable(SIGN_DIGESTS, d, digests, nonces)  # type: ignore[misc]
    assert (signatures == want).all()
    assert (served == want_served).all()
    public = reference.multiply_base(SM2, d.reshape(1, 32))
    assert gpu.verify_digests(public, digests, signatures).all()
    assert gpu.verify_digests(np.repeat(public, count, axis=0), digests, signatures).all()


def test_nonces_that_do_not_serve_are_flagged() -> None:
    n, k, d = SM2.n, 12345, 678
    point = reference.multiply_point(SM2, k, SM2.g)
    assert point is not None
    # e = -x1 makes r = 0; e = -k - x1 makes r + k = n; e = k / d - x1 makes s = 0.
    bad = [-point[0] % n, (-k - point[0]) % n, (k * pow(d, -1, n) - point[0]) % n]
    digests, nonces = rows_of_ints([*bad, 1]), rows_of_ints([k] * 4)
    signatures, served = gpu.sign_digests(rows_of_ints([d])[0], digests, nonces)
    assert served.tolist() == [False, False, False, True]
    assert not signatures[:3].any()
    assert (signatures == reference_sm2.sign_digests(rows_of_ints([d])[0], digests, nonces)[0]).all()


def test_wrong_signatures_do_not_verify() -> None:
    d, digests = scalars(SM2, 1, 6)[0], scalars(SM2, 24, 7)
    public = reference.multiply_base(SM2, d.reshape(1, 32))
    signatures, _ = gpu.sign_digests(d, digests, scalars(SM2, 24, 8))
    n = rows_of_ints([SM2.n])[0]
    signatures[0, :32], signatures[1, 32:], signatures[2, :32], signatures[3, 32:] = 0, 0, n, n
    signatures[4], signatures[5, 63], signatures[6, 0] = 255, signatures[5, 63] ^ 1, signatures[6, 0] ^ 128
    r = reference.ints(signatures[7:8, :32])[0]
    signatures[7, 32:] = rows_of_ints([SM2.n - r])[0]  # r + s = n
    digests[8, 31] ^= 1
    right = gpu.verify_digests(public, digests, signatures)
    assert right.tolist() == [False] * 9 + [True] * 15
    other = reference.multiply_base(SM2, scalars(SM2, 1, 9))
    assert not gpu.verify_digests(other, digests, signatures).any()
    assert (right == reference_sm2.verify_digests(public, digests, signatures)).all()


def test_vectors() -> None:
    for case in selftest.vectors("weierstrass")["multiply_base"]:
        curve = SM2 if case["curve"] == SM2.name else SECP256K1
        k = np.frombuffer(bytes.fromhex(case["k"]), np.uint8).reshape(1, 32)
        assert gpu.multiply_base(curve, k).tobytes().hex() == case["point"]


def test_secrets_do_not_stay_in_the_device(small_device: HostDevice) -> None:
    d, k = scalars(SM2, 1, 6)[0], scalars(SM2, 40)
    gpu.sign_digests(d, scalars(SM2, 40, 7), k)
    points = gpu.multiply_base(SM2, k)
    gpu.multiply(SM2, points, k[:1])
    assert len(small_device.secrets) >= 4
    assert not any(array.any() for array in small_device.secrets)
    # Jacobian coordinates and the products of z would give away more than the points do.
    assert not any(
        array.any() for array in small_device.buffers if array.dtype == np.uint32 and array.ndim < 4
    )


@pytest.mark.parametrize(("source", "curve"), [("sm2.cuh", 1), ("weierstrass.cuh", 2)])
def test_kernels_keep_their_budgets_on_sm90(source: str, curve: int) -> None:
    usage = sm90.usage(source, CURVE=curve)
    assert all(kernel.registers <= 128 for kernel in usage.values())
    secret_loop = usage["base_multiples"]
    assert secret_loop.spilled == 0
    assert secret_loop.shared == 32768  # two blocks of 256 threads a multiprocessor
    # Bytes around calls, outside of the loops of doublings and additions, called functions counted in.
    allowed = {"sums": 512, "point_multiples": 512, "map_to_sum": 1024}
    assert all(kernel.spilled <= allowed.get(name, 0) for name, kernel in usage.items())
    # One addition: eight products and three squares; what reduction adds is in the fields' own budgets.
    product, square = {1: (64, 36), 2: (74, 46)}[curve]
    assert secret_loop.wide <= 8 * product + 3 * square + 10
