"""Cuts the breast-cancer data that ships in scikit-learn into three parties' files.

Hospital East and Hospital West hold the diagnosis and the ten "mean" columns of their own patients; the
Laboratory holds the twenty "error" and "worst" columns of most of them (about 85 %), in its own order.
The patients are real measurements without identities, so the patient ids are made here, from a fixed seed:
every run cuts the same files. Run it by itself with ``python -m compute.demo.data FOLDER``.

Source: Wolberg, Mangasarian, Street, Street, "Breast Cancer Wisconsin (Diagnostic)", UCI, 1995.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

KEY = "patient_id"
LABEL = "diagnosis"
EAST_SHARE = 0.55
LABORATORY_SHARE = 0.85
SEED = 20_261_120

_STATISTICS = ("mean", "error", "worst")


@dataclass(frozen=True)
class DemoData:
    """The three parties' tables, and everything a test needs to know the right answers."""

    east: pa.Table
    west: pa.Table
    laboratory: pa.Table

    def write(self, folder: Path) -> None:
        """East and West as CSV, the laboratory as Parquet."""
        folder.mkdir(parents=True, exist_ok=True)
        pa.csv.write_csv(self.east, folder / "hospital-east.csv")
        pa.csv.write_csv(self.west, folder / "hospital-west.csv")
        pa.parquet.write_table(self.laboratory, folder / "laboratory.parquet")


def cut() -> DemoData:
    """Read the data from the installed scikit-learn (no network) and deal it out."""
    from sklearn.datasets import load_breast_cancer

    bunch: Any = load_breast_cancer()
    rng = np.random.default_rng(SEED)
    values: np.ndarray[Any, np.dtype[np.float64]] = bunch.data
    columns = {column_name(name): values[:, i] for i, name in enumerate(bunch.feature_names)}
    diagnosis = [str(bunch.target_names[target]) for target in bunch.target]
    ids = patient_ids(len(diagnosis), rng)

    order = rng.permutation(len(ids))
    border = round(EAST_SHARE * len(ids))
    seen = rng.permutation(len(ids))[: round(LABORATORY_SHARE * len(ids))]
    hospital = [name for name in columns if name.startswith("mean_")]
    laboratory = [name for name in columns if not name.startswith("mean_")]

    def table(rows: Any, names: list[str], *, labelled: bool) -> pa.Table:
        arrays: dict[str, Any] = {KEY: [ids[i] for i in rows]}
        if labelled:
            arrays[LABEL] = [diagnosis[i] for i in rows]
        for name in names:
            arrays[name] = pa.array(columns[name][rows], pa.float64())
        return pa.table(arrays)

    return DemoData(
        east=table(order[:border], hospital, labelled=True),
        west=table(order[border:], hospital, labelled=True),
        laboratory=table(seen, laboratory, labelled=False),
    )


def column_name(feature: str) -> str:
    """ "mean radius" and "radius error" become ``mean_radius`` and ``radius_error``."""
    words = feature.split()
    if not set(words) & set(_STATISTICS):
        raise ValueError(f"{feature!r} is not a column of the breast-cancer data")
    return "_".join(words)


def patient_ids(count: int, rng: np.random.Generator) -> list[str]:
    """Distinct ids as a hospital would print them: year, running number with gaps, check digit."""
    numbers = rng.choice(900_000, size=count, replace=False) + 100_000
    years = rng.integers(2014, 2025, size=count)
    return [
        f"P{year}-{number}-{_check_digit(f'{year}{number}')}"
        for year, number in zip(years, numbers, strict=True)
    ]


def _check_digit(digits: str) -> int:
    """Luhn (ISO/IEC 7812-1 annex B), so that a mistyped id is caught."""
    total = 0
    for position, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if position % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return -total % 10


if __name__ == "__main__":
    cut().write(Path(sys.argv[1]))
