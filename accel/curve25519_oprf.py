"""2HashDH on curve25519 with additive masks: u of b·H(x) for who has x, while another has b.

    receiver   M = H(x) + k(r)·8G        `hash_and_mask`, a fresh mask r for each item
    sender     B = b·G once, A = b·M     `multiply_points`
    receiver   u(A - k(r)·8B) = u(b·H(x))   `unmask`
    sender     u(b·H(y)) of its own      `accel.curve25519.hash_and_multiply`

Only b multiplies points that nobody knows beforehand. G and B are fixed bases: a multiple of one takes 51
additions from a table, a sixth of a scalar multiplication.

Points travel as 32 little-endian bytes: u, and in the top bit the parity of v. G has u = 9 and even v.
Scalars are clamped as in `accel.curve25519`. A mask is 32 bytes of which 255 bits count; it stands for the
scalar k(r) = 2 r + 1 - 2^255, which needs no carries to be written with odd digits. Uniform r give uniform
k(r) modulo the order, up to a fraction of 2^-127, so M says nothing of x.

The cofactor: H(x) has no low-order component, b is a multiple of 8, and G and B enter eightfold. So what a
peer adds to M or B of low order vanishes; what it adds to A makes the result wrong, as any wrong A would.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from accel import selftest
from accel.cpu import curve25519_oprf as _cpu
from accel.cpu.key_stream import BLOCK_BYTES, SEED_BYTES, KeyStream
from accel.curve25519 import POINT_BYTES, check_messages, check_scalar
from accel.errors import BadEncoding, BadParameter
from accel.gpu import curve25519_oprf as _gpu
from accel.reference import curve25519_oprf as _reference
from accel.registry import Op

MASK_BYTES = 32
BASE = _reference.BASE
"""G, encoded."""

_TAG = b"LIUTONG-SAMPLE-OPRF"
_SCALAR = b"\x08" + bytes(30) + b"\x40"


def _sample_messages(batch: int) -> list[bytes]:
    return [number.to_bytes(16, "big") for number in range(batch)]


HASH_AND_MASK: Op[[Sequence[bytes], bytes, bytes], bytes] = Op(
    "curve25519.hash_and_mask",
    sample=lambda batch: (_sample_messages(batch), _TAG, b"\x55" * (MASK_BYTES * batch)),
)
MULTIPLY_POINTS: Op[[bytes, bytes], bytes] = Op(
    "curve25519.multiply_points", sample=lambda batch: (BASE * batch, _SCALAR)
)
UNMASK: Op[[bytes, bytes, bytes], bytes] = Op(
    "curve25519.unmask", sample=lambda batch: (BASE * batch, b"\x55" * (MASK_BYTES * batch), BASE)
)


def stretched_masks(seed: bytes, first: int, count: int) -> bytes:
    """Masks number ``first`` to ``first + count`` of a secret seed of 32 bytes (AES-256 in counter mode)."""
    if not isinstance(seed, bytes) or len(seed) != SEED_BYTES:
        raise BadParameter(f"a seed of masks has {SEED_BYTES} bytes")
    stream = KeyStream(seed, first * (MASK_BYTES // BLOCK_BYTES))
    return stream(MASK_BYTES * count).tobytes()


def hash_and_mask(messages: Sequence[bytes], dst: bytes, masks: bytes, *, backend: str = "auto") -> bytes:
    """H(x) + k(r)·8G of every message and its mask, 32 bytes each.

    H as `accel.curve25519.hash_to_curve`. ``masks``: 32 secret uniform bytes a message, used only here and in
    `unmask`. Constant-time in the masks with `gpu`, `ifma` and `avx2`; `portable` fixes the sequence of field
    operations only, `reference` is for tests. Raises BadParameter, for masks of another length too.
    """
    check_messages(messages, dst)
    _check_masks(masks, len(messages))
    return HASH_AND_MASK.select(backend, batch=len(messages))(messages, dst, masks)


def multiply_points(points: bytes, scalar: bytes, *, backend: str = "auto") -> bytes:
    """Multiply every point by one secret scalar; n points in, n points out, in order.

    Constant-time in the scalar but with `reference`. Validates the points, so those of a peer may be passed
    as they came: raises InvalidPoint with ``index`` unless each is canonical, on the curve and not of low
    order, BadEncoding for a length that is no multiple of 32, BadParameter for another scalar.
    """
    check_scalar(scalar)
    count = _count(points)
    return MULTIPLY_POINTS.select(backend, batch=count)(points, scalar)


def unmask(points: bytes, masks: bytes, key: bytes, *, backend: str = "auto") -> bytes:
    """u of A - k(r)·8B for every point A and its mask, for one public point B (``key``); 32 bytes each.

    Points and key are a peer's and validated; the masks are protected as in `hash_and_mask`. Raises as
    `multiply_points`, for ``key`` too, and BadParameter for masks of another length.
    """
    count = _count(points)
    _check_masks(masks, count)
    if not isinstance(key, bytes) or len(key) != POINT_BYTES:
        raise BadEncoding("the key is one point of 32 bytes")
    _reference.decode(key)
    return UNMASK.select(backend, batch=count)(points, masks, key)


def _count(points: bytes) -> int:
    if not isinstance(points, bytes):
        raise BadParameter("points come as bytes")
    if len(points) % POINT_BYTES:
        raise BadEncoding(f"points take 32 bytes each, {len(points)} bytes is no multiple of that")
    return len(points) // POINT_BYTES


def _check_masks(masks: bytes, count: int) -> None:
    if not isinstance(masks, bytes) or len(masks) != MASK_BYTES * count:
        raise BadParameter(f"{count} masks take {MASK_BYTES * count} bytes")


# -- backends

HASH_AND_MASK.backend("reference")(_reference.hash_and_mask)
HASH_AND_MASK.backend("portable", needs="gmpy2")(_cpu.hash_and_mask)
HASH_AND_MASK.backend("gpu", needs="cupy", min_batch=4096)(_gpu.hash_and_mask)
MULTIPLY_POINTS.backend("reference")(_reference.multiply_points)
MULTIPLY_POINTS.backend("portable", needs="gmpy2 cryptography")(_cpu.multiply_points)
MULTIPLY_POINTS.backend("gpu", needs="cupy", min_batch=4096)(_gpu.multiply_points)
UNMASK.backend("reference")(_reference.unmask)
UNMASK.backend("portable", needs="gmpy2")(_cpu.unmask)
UNMASK.backend("gpu", needs="cupy", min_batch=4096)(_gpu.unmask)


def _register_vectors(level: str) -> None:
    """The kernels of one CPU level; numba is imported when one is first called."""

    @HASH_AND_MASK.backend(level, needs="numba", min_batch=4)
    def hash_and_mask(messages: Sequence[bytes], dst: bytes, masks: bytes) -> bytes:
        from accel.cpu import curve25519_oprf_vector

        return curve25519_oprf_vector.hash_and_mask(level, messages, dst, masks)

    @MULTIPLY_POINTS.backend(level, needs="numba", min_batch=4)
    def multiply_points(points: bytes, scalar: bytes) -> bytes:
        from accel.cpu import curve25519_oprf_vector

        return curve25519_oprf_vector.multiply_points(level, points, scalar)

    @UNMASK.backend(level, needs="numba", min_batch=4)
    def unmask(points: bytes, masks: bytes, key: bytes) -> bytes:
        from accel.cpu import curve25519_oprf_vector

        return curve25519_oprf_vector.unmask(level, points, masks, key)


_register_vectors("avx2")
_register_vectors("ifma")


# -- known answers


def _case() -> dict[str, bytes]:
    return {name: bytes.fromhex(value) for name, value in selftest.vectors("curve25519")["oprf"].items()}


@HASH_AND_MASK.known_answer
def _known_masked(run: Callable[[Sequence[bytes], bytes, bytes], bytes]) -> None:
    case = _case()
    got = run([case["message"]] * 2, case["dst"], case["masks"])
    selftest.expect(got == case["masked"], "curve25519.hash_and_mask")


@MULTIPLY_POINTS.known_answer
def _known_products(run: Callable[[bytes, bytes], bytes]) -> None:
    case = _case()
    got = run(case["masked"] + BASE, case["scalar"])
    selftest.expect(got == case["answers"] + case["key"], "curve25519.multiply_points")


@UNMASK.known_answer
def _known_unmasked(run: Callable[[bytes, bytes, bytes], bytes]) -> None:
    case = _case()
    got = run(case["answers"], case["masks"], case["key"])
    selftest.expect(got == case["output"] * 2, "curve25519.unmask")
