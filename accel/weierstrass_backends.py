"""Operations on SM2 and secp256k1 and their backends. `accel.weierstrass` validates and calls them.

Arguments are as in the facade, already valid: contiguous uint8 rows, one row where one value serves a batch.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from accel import selftest
from accel.cpu import weierstrass as _portable
from accel.cpu.weierstrass_vector import Vectors
from accel.gpu import weierstrass as _gpu
from accel.reference import sm2 as _sm2
from accel.reference import sswu as _sswu
from accel.reference import weierstrass as _reference
from accel.reference.weierstrass import SECP256K1, SM2, Curve, Flags, Rows, rows_of_ints
from accel.registry import Op

_ONE = np.uint8(1)


def _scalars(batch: int, step: int = 3) -> Rows:
    """Deterministic, of full length, below either order."""
    return rows_of_ints(pow(step, 200 + i, SM2.n - 1) + 1 for i in range(batch))


def _bases(batch: int) -> Rows:
    few = _portable.multiply_base(SM2, _scalars(min(batch, 8), 5))
    return np.resize(few, (batch, 64))


def _signatures(batch: int) -> tuple[Rows, Rows, Rows]:
    secret, digests = _scalars(1, 7), _scalars(min(batch, 8), 11)
    signatures, _ = _portable.sign_digests(secret[0], digests, _scalars(len(digests)))
    public = _portable.multiply_base(SM2, secret)
    return public, np.resize(digests, (batch, 32)), np.resize(signatures, (batch, 64))


MULTIPLY_BASE: Op[[Curve, Rows], Rows] = Op(
    "weierstrass.multiply_base", sample=lambda batch: (SM2, _scalars(batch))
)
MULTIPLY: Op[[Curve, Rows, Rows], Rows] = Op(
    "weierstrass.multiply", sample=lambda batch: (SM2, _bases(batch), _scalars(batch))
)
MULTIPLY_ADD: Op[[Curve, Rows, Rows, Rows], tuple[Rows, Flags]] = Op(
    "weierstrass.multiply_add_public",
    sample=lambda batch: (SM2, _scalars(batch), _bases(batch), _scalars(batch, 13)),
)
ON_CURVE: Op[[Curve, Rows], Flags] = Op("weierstrass.validate", sample=lambda batch: (SM2, _bases(batch)))
DECOMPRESS: Op[[Curve, Rows, Rows], tuple[Rows, Flags]] = Op(
    "weierstrass.decompress",
    sample=lambda batch: (SM2, _bases(batch)[:, :32].copy(), _bases(batch)[:, 63] & _ONE),
)
MAP_TO_CURVE: Op[[Curve, Rows], tuple[Rows, Flags]] = Op(
    "weierstrass.map_to_curve", sample=lambda batch: (SM2, _scalars(2 * batch).reshape(batch, 64))
)
SIGN_DIGESTS: Op[[Rows, Rows, Rows], tuple[Rows, Flags]] = Op(
    "sm2.sign_digests", sample=lambda batch: (_scalars(1, 7)[0], _scalars(batch, 11), _scalars(batch))
)
VERIFY_DIGESTS: Op[[Rows, Rows, Rows], Flags] = Op("sm2.verify_digests", sample=_signatures)

MULTIPLY_BASE.backend("reference")(_reference.multiply_base)
MULTIPLY.backend("reference")(_reference.multiply)
MULTIPLY_ADD.backend("reference")(_reference.multiply_add)
ON_CURVE.backend("reference")(_reference.on_curve)
DECOMPRESS.backend("reference")(_reference.decompress)
MAP_TO_CURVE.backend("reference")(_sswu.map_to_curve)
SIGN_DIGESTS.backend("reference")(_sm2.sign_digests)
VERIFY_DIGESTS.backend("reference")(_sm2.verify_digests)

MULTIPLY_BASE.backend("portable", needs="gmpy2")(_portable.multiply_base)
MULTIPLY.backend("portable", needs="gmpy2")(_portable.multiply)
MULTIPLY_ADD.backend("portable", needs="gmpy2")(_portable.multiply_add)
ON_CURVE.backend("portable", needs="gmpy2")(_portable.on_curve)
DECOMPRESS.backend("portable", needs="gmpy2")(_portable.decompress)
MAP_TO_CURVE.backend("portable", needs="gmpy2")(_portable.map_to_curve)
SIGN_DIGESTS.backend("portable", needs="gmpy2")(_portable.sign_digests)
VERIFY_DIGESTS.backend("portable", needs="gmpy2")(_portable.verify_digests)

# A launch and the copies take a millisecond or two: fewer rows are done on the processor by then.
MULTIPLY_BASE.backend("gpu", needs="cupy", min_batch=4096)(_gpu.multiply_base)
MULTIPLY.backend("gpu", needs="cupy", min_batch=1024)(_gpu.multiply)
MULTIPLY_ADD.backend("gpu", needs="cupy", min_batch=1024)(_gpu.multiply_add)
ON_CURVE.backend("gpu", needs="cupy", min_batch=65536)(_gpu.on_curve)
DECOMPRESS.backend("gpu", needs="cupy", min_batch=4096)(_gpu.decompress)
MAP_TO_CURVE.backend("gpu", needs="cupy", min_batch=4096)(_gpu.map_to_curve)
SIGN_DIGESTS.backend("gpu", needs="cupy", min_batch=4096)(_gpu.sign_digests)
VERIFY_DIGESTS.backend("gpu", needs="cupy", min_batch=1024)(_gpu.verify_digests)


for _level in ("avx2", "ifma"):
    _vectors = Vectors(_level)
    MULTIPLY_BASE.backend(_level, needs="numba gmpy2")(_vectors.multiply_base)
    MULTIPLY.backend(_level, needs="numba gmpy2")(_vectors.multiply)
    MULTIPLY_ADD.backend(_level, needs="numba gmpy2")(_vectors.multiply_add)
    ON_CURVE.backend(_level, needs="numba gmpy2")(_vectors.on_curve)
    DECOMPRESS.backend(_level, needs="numba gmpy2")(_vectors.decompress)
    MAP_TO_CURVE.backend(_level, needs="numba gmpy2")(_vectors.map_to_curve)
    SIGN_DIGESTS.backend(_level, needs="numba gmpy2")(_vectors.sign_digests)
    VERIFY_DIGESTS.backend(_level, needs="numba gmpy2")(_vectors.verify_digests)


def _cases(kind: str, curve: Curve, *names: str) -> list[Rows]:
    """The named columns of the vectors of a curve, as rows."""
    cases = [case for case in selftest.vectors("weierstrass")[kind] if case["curve"] == curve.name]
    return [
        np.frombuffer(bytes.fromhex("".join(case[name] for case in cases)), np.uint8).reshape(len(cases), -1)
        for name in names
    ]


def _expect(got: Rows | Flags, wanted: Rows | Flags | bool, what: str) -> None:
    selftest.expect(bool(np.all(got == wanted)), what)


@MULTIPLY_BASE.known_answer
def _check_multiply_base(run: Callable[[Curve, Rows], Rows]) -> None:
    for curve in (SM2, SECP256K1):
        scalars, points = _cases("multiply_base", curve, "k", "point")
        _expect(run(curve, scalars), points, "weierstrass.multiply_base")


@MULTIPLY.known_answer
def _check_multiply(run: Callable[[Curve, Rows, Rows], Rows]) -> None:
    for curve in (SM2, SECP256K1):
        scalars, points = _cases("multiply_base", curve, "k", "point")
        _expect(run(curve, rows_of_ints(curve.g).reshape(1, 64), scalars), points, "weierstrass.multiply")


@MULTIPLY_ADD.known_answer
def _check_multiply_add(run: Callable[[Curve, Rows, Rows, Rows], tuple[Rows, Flags]]) -> None:
    for curve in (SM2, SECP256K1):
        scalars, points = _cases("multiply_base", curve, "k", "point")
        got, infinite = run(curve, np.zeros_like(scalars), rows_of_ints(curve.g).reshape(1, 64), scalars)
        _expect(got, points, "weierstrass.multiply_add_public")
        _expect(infinite, False, "weierstrass.multiply_add_public")


@ON_CURVE.known_answer
def _check_on_curve(run: Callable[[Curve, Rows], Flags]) -> None:
    for curve in (SM2, SECP256K1):
        (points,) = _cases("multiply_base", curve, "point")
        _expect(run(curve, points), True, "weierstrass.validate")
        _expect(run(curve, points ^ _ONE), False, "weierstrass.validate")


@DECOMPRESS.known_answer
def _check_decompress(run: Callable[[Curve, Rows, Rows], tuple[Rows, Flags]]) -> None:
    for curve in (SM2, SECP256K1):
        (points,) = _cases("multiply_base", curve, "point")
        got, found = run(curve, points[:, :32].copy(), points[:, 63] & _ONE)
        _expect(got, points, "weierstrass.decompress")
        _expect(found, True, "weierstrass.decompress")


@MAP_TO_CURVE.known_answer
def _check_map_to_curve(run: Callable[[Curve, Rows], tuple[Rows, Flags]]) -> None:
    for curve in (SM2, SECP256K1):
        elements, points = _cases("hash_to_curve", curve, "u", "point")
        _expect(run(curve, elements)[0], points, "weierstrass.map_to_curve")


@SIGN_DIGESTS.known_answer
def _check_sign(run: Callable[[Rows, Rows, Rows], tuple[Rows, Flags]]) -> None:
    d, e, k, signature = _cases("sign_digests", SM2, "d", "e", "k", "signature")
    _expect(run(d[0], e, k)[0], signature, "sm2.sign_digests")


@VERIFY_DIGESTS.known_answer
def _check_verify(run: Callable[[Rows, Rows, Rows], Flags]) -> None:
    public, e, signature = _cases("sign_digests", SM2, "public", "e", "signature")
    _expect(run(public, e, signature), True, "sm2.verify_digests")
    _expect(run(public, e ^ _ONE, signature), False, "sm2.verify_digests")
