"""Paillier: encryption from the resident table, decryption by CRT, products of ciphertexts."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from functools import cache

import numpy as np

from accel.gpu import device, memory
from accel.gpu import paillier as on_gpu
from accel.gpu.field import Field, best_window
from accel.gpu.modular import FIXED_BASE_WINDOW
from accel.gpu.wide import Garner
from accel.modulus import Modulus
from accel.reference import paillier as reference
from bench.gpu.entry import Ceilings, Clock, Entry, kept, row
from bench.gpu.modular import batch, filled, products_cost
from bench.measure import Row

TARGETS = {"encrypt": 2e6, "decrypt": 2e5, "add": 1.25e8}  # Paillier-2048 on an H200


@cache
def primes(bits: int) -> tuple[int, int]:
    """Two primes of so many bits, the same in every run: for measuring, not for use."""
    rng = random.Random(bits)
    found: list[int] = []
    while len(found) < 2:
        candidate = rng.getrandbits(bits) | 3 << (bits - 2) | 1
        if all(candidate % small for small in range(3, 2000, 2)) and pow(2, candidate - 1, candidate) == 1:
            found.append(candidate)
    return found[0], found[1]


def check(sizes: tuple[int, ...] = (256, 1024, 1536), count: int = 64) -> None:
    """Ciphertexts and plaintexts are the reference's, for primes of so many bits."""
    for bits in sizes:
        p, q = primes(bits)
        n, m = p * q, Modulus((p * q) ** 2)
        rng = random.Random(bits)
        residues = [0, 1, n - 1, *(rng.randrange(n) for _ in range(count - 3))]
        width = reference.encryption_bytes(n)
        exponents = [0, (1 << 8 * width) - 1, *(rng.getrandbits(8 * width) for _ in range(count - 2))]
        rows = np.frombuffer(b"".join(e.to_bytes(width, "big") for e in exponents), np.uint8)
        ciphertexts = on_gpu.encrypt(n, residues, rows.reshape(count, width))
        base = pow(reference.base(n), n, m.value)
        for index in {0, 1, 2, 3, count - 1}:
            expected = (1 + residues[index] * n) * pow(base, exponents[index], m.value) % m.value
            if m.from_montgomery(ciphertexts[index : index + 1].to_ints()[0]) != expected:
                raise ArithmeticError(f"encrypt {2 * bits}: ciphertext {index} is wrong")
        if on_gpu.decrypt(p, q, ciphertexts) != residues:
            raise ArithmeticError(f"decrypt {2 * bits}: a plaintext is wrong")


def time(clock: Clock, ceilings: Ceilings, quick: bool) -> Iterator[Row]:
    """Rates on the device for keys of 2048 bits, and of 3072 unless quick."""
    for bits in (2048,) if quick else (2048, 3072):
        targets = TARGETS if bits == 2048 else {}
        yield _encryption(bits, batch(1 if quick else 4), clock, ceilings, targets.get("encrypt"))
        yield _decryption(bits, batch(1), clock, ceilings, targets.get("decrypt"))
        yield _addition(bits, batch(8), clock, ceilings, targets.get("add"))


def pair_cost(words: int) -> int:
    """Multiply-adds of a product of pairs: a c, a d + b c, two quotients, and what they are times n."""
    return 5 * words * words + 2 * words


def square_cost(words: int) -> int:
    """Likewise of a square, where a (2 b) takes the place of a d + b c."""
    return 4 * words * words + 2 * words


def _encryption(bits: int, count: int, clock: Clock, ceilings: Ceilings, target: float | None) -> Row:
    cupy = device.require()
    n = math.prod(primes(bits // 2))
    width = reference.encryption_bytes(n)
    with memory.secrets_in() as keep:
        key = on_gpu.Encryptor(n, width, keep)
        windows = -(-8 * width // FIXED_BASE_WINDOW)
        digits = (cupy.arange(windows * count, dtype=cupy.uint32) % (1 << FIXED_BASE_WINDOW)).astype(
            cupy.uint8
        )
        digits = digits.reshape(windows, count)
        residues = filled(key.field.numbers, count)

        def work() -> None:
            key.randomized(key.encode(residues, count, kept), digits, count, kept)

        allowed = ceilings.wide_per_s / pair_cost(key.field.shape.modulus_words) / windows
        return row(
            f"Paillier-{bits} encrypt",
            count,
            clock(work),
            "op/s",
            f"on the device, {8 * width}-bit exponents, {windows} products of pairs, tables read in full",
            ceiling="multiply-add peak",
            allowed=allowed,
            target=target,
        )


def _decryption(bits: int, count: int, clock: Clock, ceilings: Ceilings, target: float | None) -> Row:
    p, q = primes(bits // 2)
    square = Modulus((p * q) ** 2)
    with memory.secrets_in() as keep:
        whole = Field(square, keep)
        words = whole.shape.words
        garner = Garner(Modulus(p), Modulus(q), Modulus(p * q), keep)
        halves = [on_gpu.Decryptor(a, b, square, words, keep) for a, b in ((p, q), (q, p))]
        ciphertexts = filled(whole, count)

        def work() -> None:
            m_p, m_q = (half.residues(ciphertexts, count, kept) for half in halves)
            garner.combine(m_p, m_q, count, kept)

        window = best_window(bits // 2)
        digits = -(-(bits // 2) // window)
        squares, products = (digits - 1) * window + 1, digits - 1 + (1 << window) - 3
        words = halves[0].field.shape.modulus_words
        cost = 2 * (squares * square_cost(words) + products * pair_cost(words))
        return row(
            f"Paillier-{bits} decrypt",
            count,
            clock(work),
            "op/s",
            f"on the device, CRT, twice {squares} squares and {products} products of pairs",
            ceiling="multiply-add peak",
            allowed=ceilings.wide_per_s / cost,
            target=target,
        )


def _addition(bits: int, count: int, clock: Clock, ceilings: Ceilings, target: float | None) -> Row:
    n = math.prod(primes(bits // 2))
    with memory.secrets_in() as keep:
        field = Field(Modulus(n * n), keep)
        a, b = filled(field, count), filled(field, count)
        seconds = clock(lambda: field.product(a, b, count, kept))
        return row(
            f"Paillier-{bits} add",
            count,
            seconds,
            "op/s",
            "on the device, tiles in and out, Montgomery form",
            ceiling="multiply-add peak",
            allowed=ceilings.wide_per_s / products_cost(field.shape.words),
            target=target,
        )


ENTRIES = (Entry("paillier", check, time),)
