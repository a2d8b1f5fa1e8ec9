"""The right answers, computed in the clear from the same files: what the federated ones are held to.

Only the demo can do this: it cut the data itself. No party of the market holds all of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from compute.demo.data import KEY, LABEL, DemoData


def shared_patients(one: pa.Table, *others: pa.Table) -> list[str]:
    """Patients of all tables, sorted."""
    return sorted(set(one[KEY].to_pylist()).intersection(*(other[KEY].to_pylist() for other in others)))


def statistics(table: pa.Table, value: str, group: str) -> dict[str, float]:
    """Count, sum, mean and sample variance of ``value`` where the diagnosis is ``group``."""
    rows = table.filter(pc.equal(table[LABEL], group))
    values = rows[value].to_numpy()
    return {
        "count": float(len(values)),
        "sum": float(values.sum()),
        "mean": float(values.mean()),
        "variance": float(values.var(ddof=1)),
    }


def seen_by(table: pa.Table, laboratory: pa.Table) -> pa.Table:
    """The rows of patients that the laboratory knows too."""
    return table.filter(pc.is_in(table[KEY], value_set=laboratory[KEY].combine_chunks()))


def record(data: DemoData, patient: str, columns: Sequence[str]) -> dict[str, Any]:
    """The laboratory's record of one patient."""
    rows = data.laboratory.filter(pc.equal(data.laboratory[KEY], patient)).select(list(columns)).to_pylist()
    return dict(rows[0])


def flights(data: DemoData, keyword: Sequence[str], columns: Sequence[str]) -> list[dict[str, Any]]:
    """The airport's records of one keyword (carrier, flight, date), as results show them."""
    carrier, flight, date = keyword
    table = data.flights
    same = pc.and_(pc.equal(table["carrier"], carrier), pc.equal(table["flight"], int(flight)))
    day = pc.equal(table["flight_date"].cast(pa.string()), date)
    return [dict(row) for row in table.filter(pc.and_(same, day)).select(list(columns)).to_pylist()]


class CentralModel:
    """Logistic regression fitted in one place on the stacked rows, by scikit-learn."""

    def __init__(self, tables: Sequence[pa.Table], features: Sequence[str], l2: float) -> None:
        from sklearn.linear_model import LogisticRegression
        from sklearn.preprocessing import StandardScaler

        table = pa.concat_tables(tables)
        self.features = list(features)
        self.rows = np.column_stack([table[name].to_numpy() for name in features])
        self.labels = np.array([value == "malignant" for value in table[LABEL].to_pylist()])
        scaler = StandardScaler().fit(self.rows)
        model = LogisticRegression(C=1 / l2, tol=1e-12, max_iter=10_000, solver="newton-cholesky")
        model.fit(scaler.transform(self.rows), self.labels)
        # Back to the raw columns, as the federated result gives them.
        weights = model.coef_[0] / scaler.scale_
        self.coefficients = dict(zip(self.features, (float(w) for w in weights), strict=True))
        self.intercept = float(model.intercept_[0] - (weights * scaler.mean_).sum())

    def auc(self, intercept: float, coefficients: dict[str, float]) -> float:
        """The area under the ROC curve of a model on all rows."""
        from sklearn.metrics import roc_auc_score

        weights = np.array([coefficients[name] for name in self.features])
        return float(roc_auc_score(self.labels, self.rows @ weights + intercept))
