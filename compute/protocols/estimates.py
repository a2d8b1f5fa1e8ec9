"""From sizes and params to the cost of a job, for every kind: what a quote starts from.

A size belongs to a role (``left=1000000``: distinct keys, rows of a table) or is one of a kind's other
numbers (``record_bytes``, ``rounds``). The folders' ``cost.py`` say what crosses and what is computed; here
are added the rows that are read, the keys made of them, and what a grant is charged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from accel.features import LEVELS
from compute.errors import BadInput
from compute.protocols.cost import Cost

if TYPE_CHECKING:
    from compute.protocols.psi.choice import Level

_OF_CURVES = ("hash_to_curve", "scalar_mult", "base_mult")
# Newton's method on real tables: see the README of fl.logistic.
_USUAL_ROUNDS = 8
_MEASURED_KEY_BITS = (2048, 3072)


@dataclass(frozen=True)
class Estimate:
    """``units`` per role that has a grant; ``workers``: roles that compute at the same time.

    ``protocol`` and ``reason``: what is run where a kind has a choice. ``assumed``: sentences for people.
    """

    cost: Cost
    units: Mapping[str, int]
    workers: int
    protocol: str = ""
    reason: str = ""
    assumed: tuple[str, ...] = field(default=())


# Of sizes, typed params, and the level of the processors (`accel.features.LEVELS`).
Estimator = Callable[[Mapping[str, int], Any, str], Estimate]


def estimator(kind: str) -> Estimator:
    """The function for a kind; raises BadInput naming the kinds that there are."""
    found = _ESTIMATORS.get(kind)
    if found is None:
        raise BadInput(f"there is no quote for {kind!r}: there is one for {', '.join(sorted(_ESTIMATORS))}")
    return found


def estimable() -> tuple[str, ...]:
    """The kinds that can be quoted."""
    return tuple(sorted(_ESTIMATORS))


def _psi(sizes: Mapping[str, int], params: Any, level: str) -> Estimate:
    from compute.protocols.psi.intersect.cost import Machine, predict

    left, right = _given(sizes, "left", "right")
    found = predict(left, right, params, machine=Machine(level=_level(level)))
    chosen = found.choice
    cost = _on_curve(_both(found.cost), chosen.curve)
    # Greeting and tags, and what the protocol takes per bucket.
    each = {"rr22": 5, "ecdh": 3, "unbalanced": 5}[chosen.protocol]
    cost = _with(cost, rounds=2 + each * found.buckets, tag=left + right)
    assumed = []
    if params.has_labels:
        assumed.append("labels are not counted")
    if chosen.protocol == "unbalanced":
        assumed.append("the larger set is not prepared yet: the first job on this version of the dataset")
    if params.protocol == "auto" and params.link_mbit_s is None:
        assumed.append("the job knows nothing of the line: say link_mbit_s in params if it is slow")
    return Estimate(
        _reading(cost, left + right),
        {"left": left, "right": right},
        # Whoever has the larger set prepares it alone.
        1 if chosen.protocol == "unbalanced" else 2,
        chosen.name,
        chosen.reason,
        tuple(assumed),
    )


def _psi_sum(sizes: Mapping[str, int], params: Any, level: str) -> Estimate:
    from compute.protocols.psi.sum import totals
    from compute.protocols.psi.sum.cost import cost

    values, members = _given(sizes, "values", "members")
    bits = _measured(totals.public_key(params.scheme, params.public_key).n.bit_length())
    found = cost(
        values, members, len(params.values), scheme=params.scheme, modulus_bits=bits, curve=params.curve
    )
    found = _with(_on_curve(_under_key(found, bits), params.curve), rounds=4, tag=values + members)
    return Estimate(_reading(found, values + members), {"values": values, "members": members}, 2)


def _psi_many(sizes: Mapping[str, int], params: Any, level: str) -> Estimate:
    from compute.protocols.psi.many.cost import cost

    counts = _parties(sizes)
    if len(counts) != len(params.keys):
        raise BadInput(f"params name {len(params.keys)} parties, the sizes {len(counts)}")
    found = cost(sizes, params.output_to, protocol=params.protocol, curve=params.curve)
    found = _on_curve(_both(_renamed(found, {"okvs_entry": "table_entry"})), params.curve)
    found = _with(found, rounds=0, tag=sum(counts))
    return Estimate(
        _reading(found, sum(counts)),
        dict(sizes),
        # The leader works for each of the others; they work at the same time.
        2,
        params.oprf.name,
        "as params say",
    )


def _cardinality(sizes: Mapping[str, int], params: Any, level: str) -> Estimate:
    from compute.protocols.psi.cardinality.cost import cost

    left, right = _given(sizes, "left", "right")
    found = _on_curve(cost(left, right, params.output_to, params.curve), params.curve)
    found = _with(found, rounds=3, tag=2 * (left + right))
    return Estimate(_reading(found, left + right), {"left": left, "right": right}, 2)


def _stats_vertical(sizes: Mapping[str, int], params: Any, level: str) -> Estimate:
    from compute.protocols.stats.vertical.cost import cost

    values, members = _given(sizes, "values", "members")
    groups = len(params.groups) or 1
    bits = _modulus_bits(params)
    found = cost(_split(values, groups), members, bits)
    found = _with(_on_curve(_under_key(found, bits), "curve25519"), rounds=4, tag=values + members)
    return Estimate(
        _reading(found, values + members),
        {"values": groups, "members": groups},
        2,
        assumed=(f"the rows of values spread evenly over {groups} groups",) if groups > 1 else (),
    )


def _stats_horizontal(sizes: Mapping[str, int], params: Any, level: str) -> Estimate:
    from compute.protocols.stats.horizontal.cost import cost

    rows = _parties(sizes)
    groups, bits = len(params.groups) or 1, _modulus_bits(params)
    # A sum goes from party to party: they wait for one another.
    found = _with(_under_key(cost(len(rows), groups, bits), bits), rounds=len(rows))
    return Estimate(
        _reading(found, sum(rows), keys=False), {f"p{i + 1}": groups for i in range(len(rows))}, 1
    )


def _retrieval(kind: str) -> Estimator:
    def estimate(sizes: Mapping[str, int], params: Any, level: str) -> Estimate:
        from compute.protocols.pir.simple.cost import cost

        (rows,) = _given(sizes, "server", also=("record_bytes",))
        assumed = []
        record = sizes.get("record_bytes", 0)
        if not record and kind != "pir.member":
            record = params.max_record_bytes
            assumed.append(f"records of {record} bytes, the most that params allow: give record_bytes")
        found = _on_curve(cost(rows, record, params.queries, kind=kind), "curve25519")
        # Announcement and hints, evaluation of the keys, queries and answers.
        found = _reading(_with(found, rounds=6), rows, keys=kind != "pir.row")
        assumed.append("nothing is cached: the first job on this version of the dataset")
        return Estimate(found, {"server": params.queries}, 1, assumed=tuple(assumed))

    return estimate


def _logistic(sizes: Mapping[str, int], params: Any, level: str) -> Estimate:
    from compute.protocols.fl.logistic.cost import cost

    rows = _parties(sizes, also=("rounds",))
    rounds = sizes.get("rounds", min(_USUAL_ROUNDS, params.max_rounds))
    found = _with(cost(len(rows), len(params.features), rounds), rounds=4 + 2 * rounds)
    assumed = () if "rounds" in sizes else (f"{rounds} rounds, which is usual: give rounds",)
    units = {f"p{number + 1}": rounds for number in range(len(rows))}
    return Estimate(_reading(found, sum(rows), keys=False), units, len(rows), assumed=assumed)


def _service(sizes: Mapping[str, int], params: Any, level: str) -> Estimate:
    _given(sizes)
    return Estimate(
        Cost({"service": 0}, {}), {"service": params.calls}, 1, assumed=("calls are not part of the job",)
    )


_ESTIMATORS: dict[str, Estimator] = {
    "psi": _psi,
    "psi.sum": _psi_sum,
    "psi.many": _psi_many,
    "psi.cardinality": _cardinality,
    "stats.vertical": _stats_vertical,
    "stats.horizontal": _stats_horizontal,
    "pir.row": _retrieval("pir.row"),
    "pir.keyword": _retrieval("pir.keyword"),
    "pir.member": _retrieval("pir.member"),
    "fl.logistic": _logistic,
    "eaas": _service,
}


def _given(sizes: Mapping[str, int], *names: str, also: Sequence[str] = ()) -> list[int]:
    """The sizes of these names; raises BadInput for one that is missing or that means nothing here."""
    for name in names:
        if name not in sizes:
            raise BadInput(f"give the size of {name}: {', '.join(f'{each}=N' for each in names)}")
    if unknown := [name for name in sizes if name not in names and name not in also]:
        known = ", ".join([*names, *also]) or "none"
        raise BadInput(f"{unknown[0]!r} is no size of this kind; they are: {known}")
    return [sizes[name] for name in names]


def _parties(sizes: Mapping[str, int], also: Sequence[str] = ()) -> list[int]:
    count = sum(name not in also for name in sizes)
    if count < 2:
        raise BadInput("give the size of every party: p1=N, p2=N, …")
    return _given(sizes, *(f"p{number + 1}" for number in range(count)), also=also)


def _with(cost: Cost, *, rounds: int, **operations: int) -> Cost:
    """More operations; and rounds, where the folder does not say them."""
    return replace(cost, operations={**cost.operations, **operations}, rounds=cost.rounds or rounds)


def _reading(cost: Cost, rows: int, *, keys: bool = True) -> Cost:
    return _with(cost, rounds=0, row=rows, **({"key": rows} if keys else {}))


def _on_curve(cost: Cost, curve: str) -> Cost:
    """Group operations under the name of their curve: rates differ by an order of magnitude."""
    return _renamed(cost, {name: f"{name}.{curve}" for name in _OF_CURVES})


def _under_key(cost: Cost, bits: int) -> Cost:
    names = (f"{scheme}_{verb}" for scheme in ("paillier", "ou") for verb in ("encrypt", "add", "decrypt"))
    return _renamed(cost, {name: f"{name}.{bits}" for name in names})


def _both(cost: Cost) -> Cost:
    """RR22 counts what one party does; the other does as much."""
    names = ("base_transfer", "seed", "code_value", "table_entry")
    doubled = {name: 2 * n if name in names else n for name, n in cost.operations.items()}
    return replace(cost, operations=doubled)


def _renamed(cost: Cost, names: Mapping[str, str]) -> Cost:
    return replace(cost, operations={names.get(name, name): n for name, n in cost.operations.items()})


def _modulus_bits(params: Any) -> int:
    """Of the key that `prepare` made."""
    from compute.protocols.stats.moments import public_key

    return _measured(public_key(params).n.bit_length())


def _measured(bits: int) -> int:
    if bits not in _MEASURED_KEY_BITS:
        known = " and ".join(map(str, _MEASURED_KEY_BITS))
        raise BadInput(f"quotes are for keys of {known} bits, not {bits}")
    return bits


def _level(name: str) -> Level:
    for level in LEVELS:
        if level == name:
            return level
    raise BadInput(f"{name!r} is no level of processors: {', '.join(LEVELS)}")


def _split(rows: int, groups: int) -> list[int]:
    return [rows // groups + (index < rows % groups) for index in range(groups)]
