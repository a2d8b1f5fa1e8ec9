"""The arithmetic of `accel` beside phe, sf-heu, gmssl, cryptography and OpenSSL, measured in one run.

Rates are per core unless a row says otherwise. The targets were set on a faster processor (Zen 5); the first
rows give the ceilings of the one at hand.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from accel.cpu import threads
from bench import plots
from bench.arithmetic import curves, homomorphic, linear, scaling, symmetric
from bench.measure import Row


def run(quick: bool) -> Iterator[Row]:
    """Rows for the processor's ceilings, Paillier and OU, curves, SM3 and SM4, PIR products, and scaling."""
    cores = threads.count()
    yield from scaling.ceilings(cores)
    yield from homomorphic.rows(quick)
    yield from curves.rows(quick)
    yield from symmetric.rows(quick)
    yield from linear.rows(quick, cores)
    yield from scaling.rows(quick, cores)


def draw(rows: Sequence[Row], kept: Path) -> None:
    """Our rates over the peers', beside the results."""
    plots.beside_peers(rows, "accel beside its peers", kept.with_suffix(".svg"))
