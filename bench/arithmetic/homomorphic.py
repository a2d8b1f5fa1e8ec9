"""Paillier and Okamoto-Uchiyama beside phe and sf-heu, one core."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from typing import Any

import phe

from accel import ou, paillier
from bench import peers
from bench.arithmetic import one_core
from bench.measure import Row, against, rate

MODULUS_BITS = 2048
_TARGETS = {
    "Paillier": {"encrypt": 15_000, "decrypt": 3_000, "add": 2_000_000, "multiply by 64-bit": 25_000},
    "OU": {"encrypt": 100_000},
}
_INCLUDES = "one core, Python integers in and out; add: arrays in memory"


def rows(quick: bool) -> Iterator[Row]:
    seconds = 0.3 if quick else 1.5
    heu = peers.measure("heu", str(seconds), "64" if quick else "256")
    batch = 64 if quick else 1024
    with one_core():
        private = paillier.generate(MODULUS_BITS)
        ours = _rates(paillier, private, batch, seconds)
    theirs = _phe(16 if quick else 64, seconds)
    for operation, value in ours.items():
        for peer, figures in (
            (f"phe {phe.__version__}", theirs),
            ("sf-heu ZPaillier", heu["ZPaillier"]),
            ("sf-heu IPCL", heu["IPCL"]),
        ):
            yield _row("Paillier", operation, batch, value, peer, figures[operation])
    with one_core():
        ours = _rates(ou, ou.generate(MODULUS_BITS), batch, seconds)
    for operation, value in ours.items():
        yield _row("OU", operation, batch, value, "sf-heu OU", heu["OU"][operation])


def _row(scheme: str, operation: str, batch: int, value: float, peer: str, theirs: float) -> Row:
    target = _TARGETS[scheme].get(operation)
    name = f"{scheme}-{MODULUS_BITS} {operation}"
    return against(name, batch, value, peer, theirs, unit="1/s", includes=_INCLUDES, target=target)


def _rates(scheme: Any, private: Any, batch: int, seconds: float) -> dict[str, float]:
    values = [secrets.randbelow(1 << 40) for _ in range(batch)]
    factors = [(1 << 62) + secrets.randbelow(1 << 62) for _ in range(batch)]
    sealed = scheme.encrypt_ints(private.public, values, bound=1 << 40)
    return _each(
        {
            "encrypt": lambda: scheme.encrypt_ints(private.public, values, bound=1 << 40),
            "decrypt": lambda: scheme.decrypt_ints(private, sealed),
            "add": lambda: sealed + sealed,
            "multiply by 64-bit": lambda: sealed * factors,
        },
        batch,
        seconds,
    )


def _phe(batch: int, seconds: float) -> dict[str, float]:
    public, private = phe.generate_paillier_keypair(n_length=MODULUS_BITS)
    values = [secrets.randbelow(1 << 40) for _ in range(batch)]
    factor = (1 << 62) + secrets.randbelow(1 << 62)
    sealed = [public.encrypt(value) for value in values]
    return _each(
        {
            "encrypt": lambda: [public.encrypt(value) for value in values],
            "decrypt": lambda: [private.decrypt(value) for value in sealed],
            "add": lambda: [value + value for value in sealed],
            "multiply by 64-bit": lambda: [value * factor for value in sealed],
        },
        batch,
        seconds,
    )


def _each(works: dict[str, Callable[[], object]], batch: int, seconds: float) -> dict[str, float]:
    return {name: rate(work, batch, seconds=seconds) for name, work in works.items()}
