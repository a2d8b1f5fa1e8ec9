"""Measures a `Calibration` on this machine: every operation that `Cost.operations` may count, per backend.

Rates of a core are by CPU time, so that what else runs on the machine hardly shows; those of a device by wall
time. Inputs are made up; nothing here touches data of anyone.
"""

from __future__ import annotations

import datetime
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv

from accel import (
    curve25519,
    curve25519_oprf,
    expand_accumulate,
    features,
    ggm,
    lwe,
    okvs,
    ou,
    paillier,
    sm3,
    weierstrass,
)
from accel.errors import BackendUnavailable
from compute.data import csv_source
from compute.data.columns import ColumnConfig
from compute.protocols.calibration import DEVICE, Calibration
from compute.protocols.fl.logistic import masking
from compute.protocols.identifiers import Normalisation
from compute.protocols.keyset import key_set
from compute.protocols.psi.rr22 import base_ot

# Asked for one by one: a backend that this machine lacks is left out.
_BACKENDS = ("cpu", DEVICE)
_DST = b"liutong/calibration/v1"
_CURVES = {"sm2": weierstrass.SM2, "secp256k1": weierstrass.SECP256K1}


@dataclass(frozen=True)
class Probe:
    """``run(backend)`` does ``count`` operations of this name, for any of ``backends``."""

    operation: str
    count: int
    run: Callable[[str], object]
    backends: tuple[str, ...] = _BACKENDS


def measure(
    *, seconds: float = 0.5, on_progress: Callable[[str], None] = lambda operation: None
) -> Calibration:
    """Measure every operation for about ``seconds`` each and backend, after one run that warms it up."""
    rates: dict[str, dict[str, float]] = {}
    for probe in probes():
        on_progress(probe.operation)
        for backend in probe.backends:
            try:
                rate = _rate(probe, backend, seconds)
            except BackendUnavailable:
                continue  # not on this machine
            rates.setdefault(probe.operation, {})[backend] = rate
    return Calibration(
        machine=_processor(),
        level=features.level(),
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        cores=os.cpu_count() or 1,
        rates=rates,
    )


def probes() -> Iterator[Probe]:
    """Everything that is measured."""
    yield from _curves()
    yield from _homomorphic()
    yield from _retrieval()
    yield from _rr22()
    yield from _local()


def _curves() -> Iterator[Probe]:
    messages = [number.to_bytes(32, "big") for number in range(4096)]
    scalar = curve25519.random_scalar()
    points = curve25519.hash_to_curve(messages, _DST)
    yield Probe(
        "hash_to_curve.curve25519",
        len(messages),
        lambda backend: curve25519.hash_to_curve(messages, _DST, backend=backend),
    )
    yield Probe(
        "scalar_mult.curve25519",
        len(messages),
        lambda backend: curve25519.scalar_mult_many(points, scalar, backend=backend),
    )
    masks = curve25519_oprf.stretched_masks(scalar, 0, len(messages))
    masked = curve25519_oprf.hash_and_mask(messages, _DST, masks)
    yield Probe(
        "base_mult.curve25519",
        len(messages),
        lambda backend: curve25519_oprf.unmask(masked, masks, curve25519_oprf.BASE, backend=backend),
    )
    some = messages[:1024]
    secret = np.frombuffer(scalar, np.uint8)
    for name, curve in _CURVES.items():
        rows = weierstrass.hash_to_curve(curve, some, _DST)

        def hashed(backend: str, curve: weierstrass.Curve = curve) -> object:
            return weierstrass.hash_to_curve(curve, some, _DST, backend=backend)

        def multiplied(
            backend: str, curve: weierstrass.Curve = curve, rows: weierstrass.Rows = rows
        ) -> object:
            # As protocols do it: points arrive and leave compressed.
            products = weierstrass.multiply(curve, rows, secret, backend=backend)
            return weierstrass.decompress(curve, weierstrass.compress(curve, products))

        yield Probe(f"hash_to_curve.{name}", len(some), hashed)
        yield Probe(f"scalar_mult.{name}", len(some), multiplied)


def _homomorphic() -> Iterator[Probe]:
    for bits in (2048, 3072):
        yield from _scheme("paillier", paillier, bits)
        yield from _scheme("ou", ou, bits)


def _scheme(name: str, scheme: Any, bits: int) -> Iterator[Probe]:
    private = scheme.generate(bits)
    values = list(range(256))
    sealed = scheme.encrypt_ints(private.public, values, bound=1 << 40)
    yield Probe(
        f"{name}_encrypt.{bits}",
        len(values),
        lambda backend: scheme.encrypt_ints(private.public, values, bound=1 << 40),
        ("cpu",),
    )
    yield Probe(f"{name}_add.{bits}", len(values), lambda backend: sealed + sealed, ("cpu",))
    yield Probe(
        f"{name}_decrypt.{bits}",
        len(values),
        lambda backend: scheme.decrypt_ints(private, sealed),
        ("cpu",),
    )


def _retrieval() -> Iterator[Probe]:
    columns, rows, queries = 1 << 14, 1 << 10, 16
    database = np.arange(rows * columns, dtype=np.uint32).astype(np.uint8).reshape(rows, columns)
    factor = (np.arange(columns * queries) * 2654435761).astype(np.uint32).reshape(columns, queries)
    yield Probe(
        "word_products",
        rows * columns * queries,
        lambda backend: lwe.matmul(database, factor, offset=128, backend=backend),
    )


def _rr22() -> Iterator[Probe]:
    seeds = np.arange(1 << 9, dtype=np.uint64).reshape(-1, 2)
    leaves = 1 << 10
    yield Probe("seed", len(seeds) * leaves, lambda backend: ggm.expand(seeds, leaves, backend=backend))
    outputs = 1 << 18
    code = expand_accumulate.code(outputs)
    values = np.arange(2 * code.weight * code.block, dtype=np.uint64).reshape(-1, 2)
    seed = bytes(expand_accumulate.SEED_BYTES)
    yield Probe(
        "code_value",
        len(values),
        lambda backend: expand_accumulate.compress(values, outputs, seed, backend=backend),
    )
    yield Probe("table_entry", *_table(1 << 16))
    yield Probe("base_transfer", _TRANSFERS, lambda backend: _transfers(), ("cpu",))


_TRANSFERS = 128


def _transfers() -> None:
    """Both sides of base transfers: half of it is one side's."""
    choices = np.arange(_TRANSFERS, dtype=np.uint8) % 2
    message, exponents = base_ot.choose(choices, _DST, os.urandom(_TRANSFERS * base_ot.CHOOSE_BYTES))
    reply, _ = base_ot.answer(message, _DST, os.urandom(_TRANSFERS * base_ot.ANSWER_BYTES))
    base_ot.finish(message, reply, choices, exponents, _DST)


def _table(items: int) -> tuple[int, Callable[[str], object]]:
    """Making a table and looking up in it; a table has more entries than items."""
    digests = np.frombuffer(os.urandom(16 * items), np.uint64).reshape(-1, 2)
    values = digests[::-1].copy()
    seed = bytes(okvs.SEED_BYTES)

    def run(backend: str) -> object:
        table = okvs.encode(digests, values, seed, backend=backend)
        return okvs.decode(table, digests, seed, items, backend=backend)

    return okvs.layout(items).size, run


def _local() -> Iterator[Probe]:
    """What a party does for itself: rows in, keys of them, tags of what it learnt."""
    rows = 1 << 16
    table = pa.table({"id": [f"person-{number:09d}" for number in range(rows)], "n": [7] * rows})
    sink = pa.BufferOutputStream()
    pa.csv.write_csv(table, sink)
    content = sink.getvalue().to_pybytes()
    yield Probe("row", rows, lambda backend: _read(content), ("cpu",))
    yield Probe("key", rows, lambda backend: key_set(table, ["id"], Normalisation()), ("cpu",))
    outputs = np.frombuffer(os.urandom(64 * rows), np.uint8).reshape(-1, 64)
    yield Probe("tag", rows, lambda backend: _tags(outputs, backend))
    masks = masking.Masks("p1", {"p2": bytes(32)})
    words = list(range(1 << 12))
    yield Probe("mask_words", len(words), lambda backend: masks.mask(words, 1, b""), ("cpu",))
    matrix = np.eye(32) + 1 / 64
    yield Probe("linear_solves", 1, lambda backend: np.linalg.solve(matrix, matrix[0]), ("cpu",))


def _read(content: bytes) -> pa.Table:
    columns = (ColumnConfig(name="id", type="string"), ColumnConfig(name="n", type="integer"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.csv"
        path.write_bytes(content)
        return pa.Table.from_batches(csv_source.batches(path, ",", columns))


def _tags(outputs: npt.NDArray[np.uint8], backend: str) -> object:
    tags = sm3.digest_many(outputs, backend=backend)
    words = np.ascontiguousarray(tags[:, :8]).view(np.uint64)[:, 0]
    return np.searchsorted(np.sort(words), words)


def _rate(probe: Probe, backend: str, seconds: float) -> float:
    probe.run(backend)  # loads kernels, and tells whether the backend is there
    # A device works while the processor waits: only the wall tells how long.
    clock = time.perf_counter if backend == DEVICE else time.process_time
    runs, start = 0, clock()
    while (taken := clock() - start) < seconds or not runs or not taken:
        probe.run(backend)
        runs += 1
    return float(f"{probe.count * runs / taken:.4g}")


def _processor() -> str:
    """The processor's name without the machine's: a table may be shown to others."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
