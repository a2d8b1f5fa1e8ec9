"""The operations of batch modular arithmetic and who runs them. `accel.modular` validates, then calls them.

Arguments are canonical: residues below m, limb counts right, exponents within their width.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Sequence
from functools import partial
from operator import attrgetter
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

from accel import samples
from accel.limbs import LimbArray
from accel.modular_known_answers import check
from accel.modulus import Modulus
from accel.registry import Op

T = TypeVar("T")
ByteRows = npt.NDArray[np.uint8]
Groups = npt.NDArray[np.int64]

_SAMPLE_BITS = 2048
_GPU_BATCH = 8192  # fewer threads than that leave a large GPU idle


class FixedBasePlan:
    """A base whose powers are taken often, with the tables that each backend has made for it."""

    def __init__(self, base: int, exponent_bits: int, m: Modulus) -> None:
        self.base = base
        self.exponent_bits = exponent_bits
        self.m = m
        self._tables: dict[str, object] = {}
        self._lock = threading.Lock()

    def table(self, backend: str, build: Callable[[], T]) -> T:
        """The table of a backend, built once, whichever thread asks first."""
        with self._lock:
            if backend not in self._tables:
                self._tables[backend] = build()
            return cast(T, self._tables[backend])


def _sample_modulus() -> Modulus:
    return Modulus((1 << _SAMPLE_BITS) - 1942289)  # any odd number: what it costs depends on the size alone


def _one(batch: int) -> tuple[object, ...]:
    m = _sample_modulus()
    return samples.residues(m, batch), m


def _two(batch: int) -> tuple[object, ...]:
    m = _sample_modulus()
    return samples.residues(m, batch, 1), samples.residues(m, batch, 2), m


def _with_exponent(batch: int) -> tuple[object, ...]:
    m = _sample_modulus()
    return samples.residues(m, batch), (1 << 256) - 189, m


def _with_secret_exponent(batch: int) -> tuple[object, ...]:
    m = _sample_modulus()
    return samples.residues(m, batch), (1 << 256) - 189, 256, m


def _fixed_base(batch: int) -> tuple[object, ...]:
    rows = np.random.default_rng(3).integers(0, 256, (batch, 32), dtype=np.uint8)
    return FixedBasePlan(3, 256, _sample_modulus()), rows


def _with_rows(batch: int) -> tuple[object, ...]:
    m = _sample_modulus()
    return samples.residues(m, batch), [np.random.default_rng(4).integers(0, 1 << 32, batch).tolist()], m


def _with_groups(batch: int) -> tuple[object, ...]:
    m = _sample_modulus()
    return samples.residues(m, batch), np.random.default_rng(5).integers(0, 32, batch), 32, m


def _with_primes(batch: int) -> tuple[object, ...]:
    p, q = Modulus((1 << 1024) - 105), Modulus((1 << 1024) - 179)
    return samples.residues(p, batch), samples.residues(q, batch), p, q, Modulus(p.value * q.value)


ENTER: Op[[LimbArray, Modulus], LimbArray] = Op("modular.enter", sample=_one)
LEAVE: Op[[LimbArray, Modulus], LimbArray] = Op("modular.leave", sample=_one)
MULTIPLY: Op[[LimbArray, LimbArray, Modulus], LimbArray] = Op("modular.multiply", sample=_two)
SQUARE: Op[[LimbArray, Modulus], LimbArray] = Op("modular.square", sample=_one)
POWER: Op[[LimbArray, int | Sequence[int], Modulus], LimbArray] = Op("modular.power", sample=_with_exponent)
POWER_SECRET: Op[[LimbArray, int, int, Modulus], LimbArray] = Op(
    "modular.power_secret", sample=_with_secret_exponent
)
FIXED_BASE: Op[[FixedBasePlan, ByteRows], LimbArray] = Op("modular.fixed_base", sample=_fixed_base)
MULTI_POWER: Op[[LimbArray, Sequence[Sequence[int]], Modulus], LimbArray] = Op(
    "modular.multi_power", sample=_with_rows
)
PRODUCT_BY_GROUP: Op[[LimbArray, Groups, int, Modulus], LimbArray] = Op(
    "modular.product_by_group", sample=_with_groups
)
INVERSE: Op[[LimbArray, Modulus], LimbArray] = Op("modular.inverse", sample=_one)
CRT: Op[[LimbArray, LimbArray, Modulus, Modulus, Modulus], LimbArray] = Op("modular.crt", sample=_with_primes)

OPERATIONS: dict[str, Op[Any, LimbArray]] = {
    "enter": ENTER,
    "leave": LEAVE,
    "multiply": MULTIPLY,
    "square": SQUARE,
    "power": POWER,
    "power_secret": POWER_SECRET,
    "fixed_base_power": FIXED_BASE,
    "multi_power": MULTI_POWER,
    "product_by_group": PRODUCT_BY_GROUP,
    "inverse": INVERSE,
    "crt": CRT,
}
"""Each operation under the name of the function that every backend module has for it."""


def _at_first_call(module: str, name: str) -> Callable[..., LimbArray]:
    """The function of a backend module, imported when it first runs: facades stay cheap to import."""

    def run(*arguments: Any) -> LimbArray:
        function: Callable[..., LimbArray] = attrgetter(name)(importlib.import_module(module))
        return function(*arguments)

    return run


_VECTOR_BATCH = {"enter": 2, "leave": 2, "power": 2, "power_secret": 2}
_VECTOR_BATCH |= {"multi_power": 16, "product_by_group": 32, "inverse": 32, "crt": 256}
"""From which batch on vectors beat GMP; fixed-base powers take them always, for the sake of their secrets."""

for _name, _op in OPERATIONS.items():
    _op.known_answer(partial(check, _name))
    _op.backend("reference")(_at_first_call("accel.reference.modular", _name))
    _op.backend("portable", needs="gmpy2")(_at_first_call("accel.cpu.modular_gmpy2", _name))
    for _level in ("avx2", "ifma"):
        _op.backend(_level, needs="numba gmpy2", min_batch=_VECTOR_BATCH.get(_name, 1))(
            _at_first_call("accel.cpu.modular_vector", f"{_level}.{_name}")
        )
    _op.backend("gpu", needs="cupy", min_batch=_GPU_BATCH)(_at_first_call("accel.gpu.modular", _name))
