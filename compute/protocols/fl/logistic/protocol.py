"""Federated logistic regression over parties with the same columns: Newton's method on secure sums.

    pi ↔ pj            MaskKey                                   pairwise seeds
    pi → coordinator   Masked(rows, positives, Σ features)       → Scaling(mean, ·)
    pi → coordinator   Masked(Σ (features − mean)²)              → Scaling(mean, scale)
    coordinator → pi   Model(round, theta)                       then per round:
    pi → coordinator   Masked(loss, gradient, Hessian at theta)  → Model(next) … Model(final)

The coordinator is the consumer. The sums are exact integers, so the model is the centralised one up to
rounding. Leakage: README.md.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

import msgspec
import numpy as np
import pyarrow as pa
from msgspec import Meta

from compute.errors import BadInput, CohortTooSmall, ProtocolAbort
from compute.protocols import payload
from compute.protocols.fl.logistic import masking
from compute.protocols.fl.logistic.model import F64, Newton, Rows, rows_of, sums, sums_length
from compute.protocols.participants import stacked_roles
from compute.protocols.protocol import (
    JobKind,
    Message,
    Output,
    Part,
    Progress,
    Send,
    Session,
    Steps,
    receive,
    register,
)
from compute.wire import codec
from compute.wire.messages import JobSpec, Name, Text

COORDINATOR = "coordinator"
MAX_FEATURES = 256
MAX_ROUNDS = 100
MAX_ROWS = 1 << 28
Decimals = Annotated[str, Meta(pattern=r"^[0-9]{1,9}(\.[0-9]{1,18})?(e-?[0-9]{1,2})?$")]
Vector = Annotated[tuple[float, ...], Meta(max_length=MAX_FEATURES + 1)]


class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of a logistic regression. ``positive`` is the text of the label's positive value."""

    features: Annotated[tuple[Name, ...], Meta(min_length=1, max_length=MAX_FEATURES)]
    label: Name
    positive: Text
    l2: Decimals = "1.0"
    max_rounds: Annotated[int, Meta(ge=1, le=MAX_ROUNDS)] = 20
    tolerance: Decimals = "1e-10"

    def __post_init__(self) -> None:
        if len(set(self.features)) != len(self.features):
            raise ValueError("features: name a column once")
        if self.label in self.features:
            raise ValueError("label: the label must not be a feature")
        if not 1e-9 <= _number(self.l2) <= 1e9:
            raise ValueError("l2: from 1e-9 to 1e9")
        if not 1e-14 <= _number(self.tolerance) <= 1:
            raise ValueError("tolerance: from 1e-14 to 1")


class Masked(Message, frozen=True, tag="fl.masked"):
    """A party's masked vector of one aggregation; alone it is uniform noise."""

    round: Annotated[int, Meta(ge=0, le=MAX_ROUNDS + 2)]
    words: Annotated[bytes, Meta(max_length=1 << 21)]


class Scaling(Message, frozen=True, tag="fl.scaling"):
    """Mean and scale of every feature over all parties."""

    mean: Vector
    scale: Vector


class Model(Message, frozen=True, tag="fl.model"):
    """The model to evaluate in a round, or the final one: intercept first, for standardised features."""

    round: Annotated[int, Meta(ge=0, le=MAX_ROUNDS)]
    theta: Vector
    final: bool


class Coefficients(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The fitted model for standardised features."""

    intercept: float
    coefficients: dict[str, float]
    mean: dict[str, float]
    scale: dict[str, float]


class Fit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the consumer gets; ``intercept`` and ``coefficients`` apply to the raw columns."""

    intercept: float
    coefficients: dict[str, float]
    standardised: Coefficients
    rows: int
    loss: float
    rounds: int
    converged: bool


def start(session: Session, table: pa.Table | None) -> Steps:
    """The steps of a party ``p1``… with its table, or of the coordinator without one."""
    if session.role == COORDINATOR:
        return _coordinator(session)
    if table is None:
        raise BadInput("a party of fl.logistic needs a table")
    return _party(session, table)


def _party(session: Session, table: pa.Table) -> Steps:
    """Learns the overall mean and scale of every feature and the model of every round."""
    params: Params = session.params
    width = len(params.features)
    rows = rows_of(table, params.features, params.label, params.positive)
    _check_rows(session, rows)
    peers = [role for role in _parties(session.spec) if role != session.role]
    masks = yield from masking.agree(session.role, peers, session.binding, session.rng)

    heard = hashlib.sha256(b"liutong/fl/heard/v1")

    def masked(values: Sequence[float], number: int) -> Send:
        vector = masking.encode(values, "a sum")
        return Send(COORDINATOR, Masked(number, masks.mask(vector, number, heard.digest())))

    totals = [math.fsum(rows.features[:, index]) for index in range(width)]
    yield masked([len(rows), float(rows.labels.sum()), *totals], 0)
    mean, _ = yield from _receive_scaling(width, heard)
    squares = [math.fsum((rows.features[:, index] - mean[index]) ** 2) for index in range(width)]
    yield masked(squares, 1)
    mean, scale = yield from _receive_scaling(width, heard)

    for done in range(params.max_rounds + 1):
        model = yield from receive(COORDINATOR, Model)
        theta = _finite(model.theta, width + 1)
        heard.update(codec.encode(model))
        if model.round != done:
            raise ProtocolAbort(f"coordinator sent round {model.round}, {done} was due")
        if model.final:
            return Output(
                units=done, metrics={"rows": len(rows), "rows_skipped": rows.skipped, "rounds": done}
            )
        if done == params.max_rounds:
            raise ProtocolAbort("coordinator asks for more rounds than max_rounds")
        yield Progress("fl.round", done, params.max_rounds)
        yield masked(sums(rows, mean, scale, theta), done + 2)
    raise ProtocolAbort("coordinator never sent a final model")


def _coordinator(session: Session) -> Steps:
    """Learns the sums over all parties of every aggregation, and so the model."""
    params: Params = session.params
    parties = _parties(session.spec)
    width = len(params.features)

    first = yield from _aggregate(parties, 0, width + 2)
    count, positives = int(first[0]), int(first[1])
    if not 2 <= count <= MAX_ROWS * len(parties):
        raise ProtocolAbort("the parties' row counts are impossible")
    if not 0 < positives < count:
        raise BadInput(f"label: all {count} rows are of one class; check the positive value")
    mean = first[2:] / count
    yield from _broadcast(parties, Scaling(tuple(mean.tolist()), (1.0,) * width))
    squares = yield from _aggregate(parties, 1, width)
    if (squares < 0).any():
        raise ProtocolAbort("the parties' sums of squares are impossible")
    deviation = np.sqrt(squares / count)
    # A constant column carries nothing; scale 1 keeps it defined, as scikit-learn does.
    scale = np.where(deviation > 0, deviation, 1.0)
    yield from _broadcast(parties, Scaling(tuple(mean.tolist()), tuple(scale.tolist())))

    newton = Newton(width, float(_number(params.l2)), float(_number(params.tolerance)))
    done = 0
    while not newton.converged and done < params.max_rounds:
        yield Progress("fl.round", done, params.max_rounds)
        yield from _broadcast(parties, Model(done, tuple(newton.theta.tolist()), False))
        total = yield from _aggregate(parties, done + 2, sums_length(width))
        newton.next(total)
        done += 1
    yield from _broadcast(parties, Model(done, tuple(newton.theta.tolist()), True))
    yield Progress("fl.round", done, done)
    fit = _fit(params, newton, mean, scale, count, done)
    return Output(sealed=payload.encode(fit), metrics={"rows": count, "rounds": done})


def _aggregate(parties: Sequence[str], number: int, length: int) -> Part[F64]:
    vectors = {}
    for role in parties:
        message = yield from receive(role, Masked)
        if message.round != number:
            raise ProtocolAbort(f"{role} sent aggregation {message.round}, {number} was due")
        vectors[role] = message.words
    return np.array([float(value) for value in masking.add(vectors, length)])


def _broadcast(parties: Sequence[str], message: Message) -> Part[None]:
    for role in parties:
        yield Send(role, message)


def _receive_scaling(width: int, heard: hashlib._Hash) -> Part[tuple[F64, F64]]:
    message = yield from receive(COORDINATOR, Scaling)
    heard.update(codec.encode(message))
    mean, scale = _finite(message.mean, width), _finite(message.scale, width)
    if not (scale > 0).all():
        raise ProtocolAbort("coordinator sent a scale that is not positive")
    return mean, scale


def _finite(values: Sequence[float], length: int) -> F64:
    vector = np.array(values, dtype=np.float64)
    if len(vector) != length or not np.isfinite(vector).all():
        raise ProtocolAbort("coordinator sent a vector of another length or with numbers that are not finite")
    return vector


def _check_rows(session: Session, rows: Rows) -> None:
    floor = max(1, session.min_cohort)
    if len(rows) < floor:
        raise CohortTooSmall(
            f"{session.role} has {len(rows)} complete rows, fewer than the floor of {floor}", floor=floor
        )
    if len(rows) > MAX_ROWS:
        raise BadInput(f"{session.role} has {len(rows)} rows; at most {MAX_ROWS} are accepted")


def _fit(params: Params, newton: Newton, mean: F64, scale: F64, count: int, done: int) -> Fit:
    weights = newton.theta[1:]
    raw = weights / scale
    names = params.features

    def named(values: F64) -> dict[str, float]:
        return dict(zip(names, values.tolist(), strict=True))

    return Fit(
        intercept=float(newton.theta[0] - raw @ mean),
        coefficients=named(raw),
        standardised=Coefficients(float(newton.theta[0]), named(weights), named(mean), named(scale)),
        rows=count,
        loss=newton.objective,
        rounds=done,
        converged=newton.converged,
    )


def _number(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation as error:
        raise ValueError(f"{text!r} is no decimal number") from error


def _parties(spec: JobSpec) -> tuple[str, ...]:
    return tuple(role for role in stacked_roles(spec, COORDINATOR) if role != COORDINATOR)


def _roles(spec: JobSpec, params: Params) -> tuple[str, ...]:
    return stacked_roles(spec, COORDINATOR)


def _columns(spec: JobSpec, params: Params, role: str) -> tuple[str, ...]:
    return () if role == COORDINATOR else (*params.features, params.label)


def _units(spec: JobSpec, params: Params, role: str) -> int:
    return 0 if role == COORDINATOR else params.max_rounds


def _open(session: Session, payloads: Mapping[str, bytes]) -> dict[str, Any]:
    fit: dict[str, Any] = msgspec.to_builtins(payload.decode(Fit, payloads, COORDINATOR))
    return fit


KIND = register(
    JobKind(
        name="fl.logistic",
        operation="fl",
        params=Params,
        roles=_roles,
        columns=_columns,
        units=_units,
        start=start,
        open_result=_open,
        consumer_role=COORDINATOR,
        role_names=("p*", COORDINATOR),
        unit="round",
        example={
            "features": ["mean radius", "mean texture"],
            "label": "diagnosis",
            "positive": "malignant",
            "l2": "1.0",
            "max_rounds": 20,
            "tolerance": "1e-10",
        },
    )
)
