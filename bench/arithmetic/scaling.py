"""What a second core adds, and what one could add at most: the same work on one thread and on all."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator

import numpy as np

from accel import curve25519, paillier, sm3
from accel import weierstrass as ec
from bench import peak
from bench.arithmetic import one_core
from bench.measure import Row, rate


def rows(quick: bool, cores: int) -> Iterator[Row]:
    """Rows "NAME, 2 cores over 1"; nothing on a machine of one core."""
    if cores < 2:
        return
    seconds = 0.3 if quick else 1.5
    for name, (work, batch) in _works(quick).items():
        with one_core():
            alone = rate(work, batch, seconds=seconds)
        together = rate(work, batch, seconds=seconds)
        target = 1.8 if cores == 2 else None
        met = None if target is None else together / alone >= target
        yield Row(
            f"{name}, {cores} cores over 1",
            batch,
            together / alone,
            "x",
            f"the same batch on 1 and {cores} threads",
            target=target,
            met=met,
        )


def ceilings(cores: int) -> Iterator[Row]:
    """What no kernel can exceed on this machine."""
    multiply_adds = peak.multiply_adds()
    if multiply_adds is not None:
        yield Row("52-bit multiply-adds, 8 lanes each", 1, multiply_adds, "1/s", "one core, registers only")
    for threads in {1, cores}:
        yield Row(
            f"reading memory, {threads} threads",
            1 << 30,
            peak.read_bandwidth(threads),
            "B/s",
            "1 GiB, summed",
        )


def _works(quick: bool) -> dict[str, tuple[Callable[[], object], int]]:
    shrink = 16 if quick else 1
    private = paillier.generate(2048)
    values = [secrets.randbelow(1 << 40) for _ in range(4096 // shrink)]
    batch = 65536 // shrink
    points = curve25519.hash_to_curve([secrets.token_bytes(16) for _ in range(batch)], b"LIUTONG-BENCH")
    scalar = curve25519.random_scalar()
    scalars = np.frombuffer(secrets.token_bytes(32 * batch), dtype=np.uint8).reshape(-1, 32).copy()
    scalars[:, 0] &= 0x7F
    messages = np.frombuffer(secrets.token_bytes(1024 * batch), dtype=np.uint8).reshape(-1, 64)
    return {
        "Paillier-2048 encrypt": (
            lambda: paillier.encrypt_ints(private.public, values, bound=1 << 40),
            len(values),
        ),
        "X25519": (lambda: curve25519.scalar_mult_many(points, scalar), batch),
        "SM2 fixed base": (lambda: ec.multiply_base(ec.SM2, scalars), batch),
        "SM3 of 64-byte messages": (lambda: sm3.digest_many(messages), len(messages)),
    }
