"""The federated fit is the centralised one, no party's own sums show, hostile peers end in an abort."""

import itertools
import math
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from compute.errors import BadInput, BadMessage, CohortTooSmall, PeerLost, ProtocolAbort
from compute.protocols.fl.logistic import masking
from compute.protocols.fl.logistic.masking import MaskKey
from compute.protocols.fl.logistic.protocol import Masked, Model, Scaling
from compute.protocols.runner import RunResult
from compute.wire import codec
from tests.compute.protocols.hostile import replacing
from tests.compute.protocols.jobs import Job, seeded

DATA = load_breast_cancer()
NAMES = [str(name) for name in DATA.feature_names]


def breast_cancer(features: int) -> pa.Table:
    columns: dict[str, Any] = {NAMES[i]: DATA.data[:, i] for i in range(features)}
    return pa.table(columns | {"diagnosis": [str(DATA.target_names[t]) for t in DATA.target]})


def fit(table: pa.Table, cuts: list[int], *, floor: int = 0, seed: int | str = 0, **params: Any) -> Job:
    base = {"features": table.column_names[:-1], "label": "diagnosis", "positive": "malignant"}
    edges = [0, *cuts, table.num_rows]
    tables = {f"p{i + 1}": table.slice(a, b - a) for i, (a, b) in enumerate(itertools.pairwise(edges))}
    return Job("fl.logistic", base | params, tables, floor=floor, seed=seed)


def small(rows: int = 30) -> pa.Table:
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=rows), rng.normal(size=rows)
    labels = np.where(x + 0.5 * y + rng.normal(size=rows) > 0, "malignant", "benign")
    return pa.table({"x": x, "y": 1000 + y, "diagnosis": labels})


def centralised(features: int, l2: float) -> tuple[StandardScaler, LogisticRegression]:
    matrix = DATA.data[:, :features]
    scaler = StandardScaler().fit(matrix)
    model = LogisticRegression(C=1 / l2, tol=1e-12, max_iter=1000, solver="newton-cholesky")
    return scaler, model.fit(scaler.transform(matrix), DATA.target == 0)


@pytest.mark.parametrize(
    ("features", "cuts", "l2"),
    [(10, [284], "1.0"), (30, [211], "1.0"), (10, [101, 304], "0.01"), (20, [7], "50")],
)
def test_coefficients_equal_the_centralised_fit(features: int, cuts: list[int], l2: str) -> None:
    opened = fit(breast_cancer(features), cuts, floor=5, l2=l2).result()
    scaler, model = centralised(features, float(l2))
    weights = [opened["standardised"]["coefficients"][name] for name in NAMES[:features]]
    np.testing.assert_allclose(weights, model.coef_[0], rtol=1e-6, atol=1e-6)
    assert opened["standardised"]["intercept"] == pytest.approx(model.intercept_[0], abs=1e-6)
    raw = np.array([opened["coefficients"][name] for name in NAMES[:features]])
    margins = DATA.data[:, :features] @ raw + opened["intercept"]
    expected = model.decision_function(scaler.transform(DATA.data[:, :features]))
    np.testing.assert_allclose(margins, expected, rtol=1e-6, atol=1e-6)
    assert opened["converged"]
    assert opened["rows"] == 569
    assert list(opened["standardised"]["mean"].values()) == pytest.approx(list(scaler.mean_), rel=1e-12)
    assert list(opened["standardised"]["scale"].values()) == pytest.approx(list(scaler.scale_), rel=1e-12)


def test_the_cut_between_parties_does_not_matter() -> None:
    one, other = (fit(breast_cancer(5), cuts).result() for cuts in ([20], [200, 201, 400]))
    assert one["coefficients"] == pytest.approx(other["coefficients"], rel=1e-12)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(6, 40), st.integers(1, 5), st.floats(0.01, 100))
def test_the_fit_is_a_stationary_point_for_any_data(seed: int, rows: int, cut: int, l2: float) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 2)) * [1, 1e6] + [0, 1e9]
    y = np.r_[0, 1, rng.integers(0, 2, rows - 2)]
    table = pa.table({"x": x[:, 0], "y": x[:, 1], "diagnosis": np.where(y == 1, "malignant", "benign")})
    opened = fit(table, [cut], l2=f"{l2:.6f}", max_rounds=50)
    found = opened.result()
    assert found["converged"]
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    w = np.array(list(found["standardised"]["coefficients"].values()))
    p = 1 / (1 + np.exp(-(found["standardised"]["intercept"] + z @ w)))
    assert abs((p - y).sum()) < 1e-6
    np.testing.assert_allclose(z.T @ (p - y) + round(l2, 6) * w, 0, atol=1e-5)


def test_separable_data_and_a_constant_column_converge() -> None:
    table = pa.table(
        {
            "x": [1.0, 2.0, 3.0, 11.0, 12.0, 13.0],
            "c": [7] * 6,
            "diagnosis": ["benign"] * 3 + ["malignant"] * 3,
        }
    )
    found = fit(table, [3], l2="0.001", max_rounds=60).result()
    assert found["converged"]
    assert found["coefficients"]["c"] == 0
    assert found["standardised"]["scale"]["c"] == 1.0


def test_units_are_rounds_and_max_rounds_ends_without_convergence() -> None:
    job = fit(small(), [11], max_rounds=2)
    run = job.run()
    found = job.open(run)
    assert (found["rounds"], found["converged"]) == (2, False)
    assert [run.outputs[role].units for role in job.roles] == [2, 2, 0]
    assert [job.kind.units(job.spec, job.params, role) for role in job.roles] == [2, 2, 0]


def test_rows_with_nulls_are_left_out_and_counted() -> None:
    table = small()
    x = table["x"].to_pylist()
    x[3] = None
    labels = table["diagnosis"].to_pylist()
    labels[20] = None
    holed = pa.table({"x": x, "y": table["y"], "diagnosis": labels})
    job = fit(holed, [11])
    run = job.run()
    assert [run.outputs[role].metrics["rows_skipped"] for role in ("p1", "p2")] == [1, 1]
    kept = [i for i in range(30) if i not in (3, 20)]
    expected = fit(table.take(pa.array(kept)), [10]).result()
    assert job.open(run)["coefficients"] == pytest.approx(expected["coefficients"], rel=1e-9)


def masked_words(run: Any, role: str) -> list[bytes]:
    """What the coordinator gets from a party, before it adds."""
    found = []
    for message in run.wire:
        if (message.sender, message.receiver) == (role, "coordinator"):
            found.append(codec.decode(Masked, message.data).words)
    return found


def test_a_single_update_is_noise_and_runs_share_nothing() -> None:
    job = fit(small(), [11])
    run = job.run()
    for role in ("p1", "p2"):
        for words in masked_words(run, role):
            values = [int.from_bytes(words[at : at + 32], "little") for at in range(0, len(words), 32)]
            # A sum in the clear would fill 170 bits at most; a uniform word is that small with 2^-80.
            assert all(value.bit_length() > 170 for value in values)
            assert all((masking.MODULUS - value).bit_length() > 170 for value in values)
    again = fit(small(), [11], seed="other").run()
    assert not set(masked_words(run, "p1")) & set(masked_words(again, "p1"))
    assert [m.data for m in run.wire if m.receiver == "p2"] != [
        m.data for m in again.wire if m.receiver == "p2"
    ]


def test_no_row_crosses() -> None:
    table = small()
    crossed = b"".join(message.data for message in fit(table, [11]).run().wire)
    for name in ("x", "y"):
        for value in table[name].to_numpy():
            assert np.float64(value).tobytes() not in crossed
            assert np.float64(value).byteswap().tobytes() not in crossed
    assert b"malignant" not in crossed


def test_transcripts_agree_between_every_two_roles() -> None:
    ends = fit(small(), [7, 15]).run_async()
    assert all(isinstance(end, RunResult) for end in ends.values()), ends
    for one in ends:
        for other in ends:
            if one != other:
                assert ends[one].peer_transcripts[other] == ends[other].peer_transcripts[one]


def test_floor_empty_party_and_one_class_end_everyone() -> None:
    ends = fit(small(), [3], floor=5).run_async()
    assert type(ends["p1"]) is CohortTooSmall
    assert {type(end) for end in ends.values()} == {CohortTooSmall}
    ends = fit(small(), [0]).run_async()
    assert {type(end) for end in ends.values()} == {CohortTooSmall}
    one_class = small().set_column(2, "diagnosis", pa.array(["benign"] * 30))
    ends = fit(one_class, [11]).run_async()
    assert type(ends["coordinator"]) is BadInput
    assert "one class" in str(ends["coordinator"])
    assert all(isinstance(end, Exception) for end in ends.values())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300])
def test_numbers_that_cannot_be_summed_end_everyone(value: float) -> None:
    table = small()
    x = table["x"].to_pylist()
    x[2] = value
    ends = fit(table.set_column(0, "x", pa.array(x, from_pandas=False)), [11]).run_async()
    assert type(ends["p1"]) is BadInput
    assert all(isinstance(end, Exception) for end in ends.values())


def test_text_is_no_feature() -> None:
    with pytest.raises(BadInput, match="a feature is a number"):
        fit(pa.table({"x": ["a"] * 4, "diagnosis": ["malignant", "benign"] * 2}), [2]).run()


# a party sends: 0 MaskKey to its peer, 1 and 2 the moments, then a round each
HOSTILE_PARTY = {
    "low-order key": lambda n, m: [MaskKey(bytes(32))] if n == 0 else [m],
    "another mask": lambda n, m: (
        [Masked(m.round, m.words[:-1] + bytes([m.words[-1] ^ 0x80]))] if n == 1 else [m]
    ),
    "random words": lambda n, m: [Masked(m.round, seeded(9)(len(m.words)))] if n == 3 else [m],
    "short vector": lambda n, m: [Masked(m.round, m.words[:-32])] if n == 1 else [m],
    "odd vector": lambda n, m: [Masked(m.round, m.words[:-1])] if n == 2 else [m],
    "wrong round": lambda n, m: [Masked(m.round + 1, m.words)] if n == 2 else [m],
    "wrong type": lambda n, m: [MaskKey(bytes(32))] if n == 1 else [m],
    "vector twice": lambda n, m: [m, m] if n == 1 else [m],
}


@pytest.mark.parametrize("name", HOSTILE_PARTY)
def test_a_hostile_party_ends_in_a_typed_abort_everywhere(name: str) -> None:
    job = fit(small(), [11])
    ends = job.run_async({"p1": replacing(job.steps("p1"), HOSTILE_PARTY[name])})
    assert all(isinstance(end, ProtocolAbort | BadMessage | PeerLost) for end in ends.values()), ends
    assert any(isinstance(end, ProtocolAbort | BadMessage) for end in ends.values())


def model(**changes: Any) -> Any:
    return lambda n, m: [msgspec.structs.replace(m, **changes) if isinstance(m, Model) else m]


HOSTILE_COORDINATOR = {
    "wrong round": model(round=9),
    "short model": model(theta=(0.0,)),
    "infinite model": model(theta=(math.inf, 0.0, 0.0)),
    "nan model": model(theta=(math.nan, 0.0, 0.0)),
    "zero scale": lambda n, m: [Scaling(m.mean, (0.0, 1.0))] if isinstance(m, Scaling) else [m],
    "short mean": lambda n, m: [Scaling(m.mean[:1], m.scale)] if isinstance(m, Scaling) else [m],
    "scaling for model": lambda n, m: [Scaling((), ())] if isinstance(m, Model) else [m],
    # First of the two parties to be told: the masks of the two no longer cancel.
    "another model for one party": lambda n, m: [
        Model(m.round, (0.5, 0.5, 0.5), False) if isinstance(m, Model) and n == 4 else m
    ],
}


@pytest.mark.parametrize("name", HOSTILE_COORDINATOR)
def test_a_hostile_coordinator_ends_in_a_typed_abort_everywhere(name: str) -> None:
    job = fit(small(), [11])
    ends = job.run_async({"coordinator": replacing(job.steps("coordinator"), HOSTILE_COORDINATOR[name])})
    assert all(isinstance(end, ProtocolAbort | BadMessage | PeerLost) for end in ends.values()), ends
    assert any(isinstance(end, ProtocolAbort | BadMessage) for end in ends.values())


def test_a_coordinator_that_never_stops_is_stopped() -> None:
    job = fit(small(), [11], max_rounds=2)
    never = lambda n, m: [Model(m.round, m.theta, False) if isinstance(m, Model) else m]  # noqa: E731
    ends = job.run_async({"coordinator": replacing(job.steps("coordinator"), never)})
    assert type(ends["p1"]) is ProtocolAbort


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({"features": []}, "features"),
        ({"features": ["x", "x"]}, "once"),
        ({"features": ["diagnosis"]}, "must not be a feature"),
        ({"l2": "0"}, "l2"),
        ({"l2": "-1"}, "l2"),
        ({"l2": 1.0}, "l2"),
        ({"tolerance": "1e-30"}, "tolerance"),
        ({"max_rounds": 0}, "max_rounds"),
    ],
)
def test_bad_parameters_name_the_field(params: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        fit(small(), [11], **params)


def test_one_party_alone_is_refused() -> None:
    with pytest.raises(BadInput, match="2 to 32 parties"):
        fit(small(), [])


def test_a_forged_result_is_refused() -> None:
    job = fit(small(), [11])
    for sealed in (b"", b"{}", b'{"intercept": "x"}'):
        with pytest.raises(BadMessage):
            job.kind.open_result(job.consumer(), {"coordinator": sealed})
