"""The SM2 curve under the names of its standard, and its signatures on digests.

| symbol | meaning |
|---|---|
| P, A, B | the field and the curve y^2 = x^3 + A x + B, A = -3 |
| N | the prime order of the base point G; the cofactor is 1 |

Source: GB/T 32918.5-2017 section 2 (parameters), GB/T 32918.2-2016 sections 6.1 and 7.1 (signatures).
"""

from __future__ import annotations

import numpy as np

from accel.reference.weierstrass import (
    SM2,
    Flags,
    Point,
    Rows,
    add,
    ints,
    multiply_point,
    points,
    rows_of_ints,
)

P, A, B, N, G = SM2.p, SM2.a, SM2.b, SM2.n, SM2.g


def sign_digests(d: Rows, digests: Rows, nonces: Rows) -> tuple[Rows, Flags]:
    """r ‖ s for every digest, and whether the nonce served (section 6.1 steps A5 and A6)."""
    (secret,) = ints(d[None, :])
    signatures, usable = [], []
    for e, k in zip(ints(digests), ints(nonces), strict=True):
        point = multiply_point(SM2, k, G)
        r = (e + (point[0] if point else 0)) % N
        s = pow(1 + secret, -1, N) * (k - r * secret) % N
        usable.append(r != 0 and r + k != N and s != 0)
        signatures += [r, s] if usable[-1] else [0, 0]
    return rows_of_ints(signatures).reshape(-1, 64), np.array(usable, dtype=np.bool_)


def verify_digests(keys: Rows, digests: Rows, signatures: Rows) -> Flags:
    """Section 7.1 for every digest; one key for all comes as a single row."""
    publics = points(keys) * (len(digests) if len(keys) == 1 else 1)
    pairs = points(signatures)  # r ‖ s has the shape of a point
    outcome = [_verifies(*case) for case in zip(publics, ints(digests), pairs, strict=True)]
    return np.array(outcome, dtype=np.bool_)


def _verifies(public: Point, e: int, signature: tuple[int, int]) -> bool:
    r, s = signature
    t = (r + s) % N
    if not 0 < r < N or not 0 < s < N or t == 0:
        return False
    total = add(SM2, multiply_point(SM2, s, G), multiply_point(SM2, t, public))
    return total is not None and (e + total[0]) % N == r
