"""Logistic regression as Newton's method needs it: what a party sums, and what the coordinator solves.

Labels y in {0, 1}, features standardised over all parties, theta = (intercept, weights). The objective is
Σ log(1 + exp(−(2y−1)·z)) + (l2/2)·‖weights‖² with z = intercept + x·weights. Source: Hastie, Tibshirani,
Friedman, "The Elements of Statistical Learning", 2nd ed., section 4.4.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from compute.errors import BadInput, ProtocolAbort
from compute.protocols.identifiers import column, text_of

F64 = npt.NDArray[np.float64]
# Relative rise of the objective that is rounding, not a step too far.
_ROUNDING = 1e-12


@dataclass(frozen=True, repr=False)  # holds rows: keep it out of logs
class Rows:
    """A party's usable rows: ``features`` (rows, columns) and ``labels`` (rows,) in {0, 1}."""

    features: F64
    labels: F64
    skipped: int

    def __len__(self) -> int:
        return int(self.features.shape[0])


def rows_of(table: pa.Table, features: Sequence[str], label: str, positive: str) -> Rows:
    """The rows without nulls; raises BadInput naming a column that holds no finite numbers."""
    numbers = [_numbers(table, name) for name in features]
    texts = [text_of(value) for value in column(table, label).to_pylist()]
    matrix = np.column_stack(numbers) if numbers else np.empty((table.num_rows, 0))
    usable = ~np.isnan(matrix).any(axis=1) & np.array([text is not None for text in texts], dtype=bool)
    labels = np.array([text == positive for text in texts], dtype=np.float64)
    return Rows(matrix[usable], labels[usable], int(table.num_rows - usable.sum()))


def sums(rows: Rows, mean: F64, scale: F64, theta: F64) -> list[float]:
    """Loss, gradient and upper triangle of the Hessian over our rows, without the penalty: what is masked."""
    design = np.column_stack([np.ones(len(rows)), (rows.features - mean) / scale])
    margin = design @ theta
    # exp of a non-positive number never overflows, whatever model the coordinator sends.
    decay = np.exp(-np.abs(margin))
    probability = np.where(margin >= 0, 1 / (1 + decay), decay / (1 + decay))
    loss = float(np.logaddexp(0, np.where(rows.labels == 1, -margin, margin)).sum())
    gradient = design.T @ (probability - rows.labels)
    hessian = (design * (probability * (1 - probability))[:, None]).T @ design
    return [loss, *gradient.tolist(), *hessian[np.triu_indices(len(theta))].tolist()]


def sums_length(features: int) -> int:
    """Length of `sums` for so many features."""
    size = features + 1
    return 1 + size + size * (size + 1) // 2


class Newton:
    """The coordinator's optimiser: full Newton steps, halved while the objective rises.

    `next` takes the summed `sums` at `theta`, moves `theta` and says whether it is final.
    """

    def __init__(self, features: int, l2: float, tolerance: float) -> None:
        self.theta: F64 = np.zeros(features + 1)
        self.objective = float("inf")
        self.converged = False
        self._penalty: F64 = np.full(features + 1, l2)
        self._penalty[0] = 0.0
        self._tolerance = tolerance
        self._best: F64 = self.theta
        self._step: F64 = np.zeros(features + 1)

    def next(self, total: F64) -> bool:
        """Raises ProtocolAbort if the sums are none of a logistic regression."""
        size = len(self.theta)
        loss, gradient = float(total[0]), total[1 : size + 1] + self._penalty * self.theta
        objective = loss + float(self._penalty @ self.theta**2) / 2
        if not np.isfinite(total).all() or loss < 0:
            raise ProtocolAbort("the parties' sums are none of a logistic regression")
        if objective > self.objective * (1 + _ROUNDING):
            # Half of the last step from the best point so far; nothing new is solved for.
            self._step = self._step / 2
        else:
            hessian: F64 = np.zeros((size, size))
            hessian[np.triu_indices(size)] = total[size + 1 :]
            hessian += np.triu(hessian, 1).T
            hessian += np.diag(self._penalty)
            try:
                self._step = np.asarray(-np.linalg.solve(hessian, gradient), dtype=np.float64)
            except np.linalg.LinAlgError as error:
                raise ProtocolAbort("the Hessian is singular: raise l2") from error
            self.objective = objective
            self._best = self.theta
        self.theta = self._best + self._step
        self.converged = bool(np.abs(self._step).max() <= self._tolerance)
        return self.converged


def _numbers(table: pa.Table, name: str) -> F64:
    values = column(table, name)
    kind = values.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        raise BadInput(f"column {name!r} holds {kind}: a feature is a number")
    plain = values.to_pylist()
    # A null becomes NaN and its row is skipped; a NaN or infinity in the data is an error.
    numbers = np.array([np.nan if value is None else float(value) for value in plain], dtype=np.float64)
    bad = [row for row, value in enumerate(plain) if value is not None and not np.isfinite(numbers[row])]
    if bad:
        raise BadInput(f"row {bad[0]} of column {name!r} is no finite number", row=bad[0], column=name)
    return numbers
