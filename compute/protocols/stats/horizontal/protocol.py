"""Count, sum, mean and variance over rows that several parties hold, same columns, different rows.

The last party encrypts its moments per group under the consumer's key and passes them on; each party adds
its own and rerandomises; ``p1`` delivers to the consumer. A summary goes back along the same chain:

    pN → … → p2 → p1   Partial(flags, Enc(moments of everyone so far))
    p1 → p2 → … → pN   Summary(released, suppressed);      p1 → consumer: the sums, under its key

Source: additively homomorphic aggregation, Paillier, EUROCRYPT 1999, section 8.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import pyarrow as pa
from msgspec import Meta

from accel import paillier
from compute.errors import BadInput, CohortTooSmall, ProtocolAbort
from compute.protocols import filters
from compute.protocols.participants import require_consumer_apart, stacked_roles
from compute.protocols.protocol import (
    JobKind,
    Message,
    Output,
    Progress,
    Send,
    Session,
    Steps,
    receive,
    register,
)
from compute.protocols.stats import exchange, moments
from compute.protocols.stats.exchange import Summary
from compute.protocols.stats.moments import Moments
from compute.wire.messages import JobSpec


class Params(moments.Question, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Parameters of a horizontal statistics job; see `moments.Question`."""


class Partial(Message, frozen=True, tag="stats.partial"):
    """Per group: whether a party's part was too small, and the encrypted moments of everyone so far."""

    suppressed: Annotated[tuple[bool, ...], Meta(min_length=1, max_length=64)]
    ciphertexts: Annotated[bytes, Meta(max_length=1 << 17)]


def start(session: Session, table: pa.Table | None) -> Steps:
    """The steps of one stacked party; learns which groups somebody before it had too few rows of."""
    if table is None:
        raise BadInput("a role of stats.horizontal needs a table")
    params: Params = session.params
    key = moments.public_key(params)
    number = int(session.role[1:])
    before = f"p{number + 1}" if number < len(session.spec.participants) else None
    after = f"p{number - 1}" if number > 1 else None
    names = params.group_names

    rows = moments.rows_of(filters.apply(table, params.filter), params)
    own = [Moments() for _ in names]
    for row in rows:
        own[row.group] += row.moments
    # The floor holds for each party's own part: even if everyone else compares notes, what is left is a
    # group of that size.
    suppressed = [0 < part.count < session.min_cohort for part in own]
    yield Progress("stats.encrypt", 0, len(names))
    total = _encrypt(key, own, suppressed, session)
    if before is not None:
        partial = yield from receive(before, Partial)
        if len(partial.suppressed) != len(names):
            raise ProtocolAbort(f"{before} sent another number of groups than were asked for")
        suppressed = [any(flags) for flags in zip(suppressed, partial.suppressed, strict=True)]
        theirs = exchange.from_bytes(key, partial.ciphertexts, len(names), before)
        total = (total + theirs).rerandomize(session.rng)
    yield Progress("stats.encrypt", len(names), len(names))

    metrics = {"rows": len(rows), "groups": len(names)}
    if after is not None:
        yield Send(after, Partial(tuple(suppressed), exchange.to_bytes(total)))
        summary = yield from receive(after, Summary)
        exchange.check_summary(summary, len(names), after)
        if before is not None:
            yield Send(before, summary)
        return Output(units=len(names), metrics=metrics | {"groups_suppressed": summary.suppressed})

    values = total.ciphertexts()
    released = {index: values[index] for index, flag in enumerate(suppressed) if not flag}
    if not released:
        raise CohortTooSmall(
            f"all {len(names)} groups are suppressed: a party has fewer rows than {session.min_cohort}",
            floor=session.min_cohort,
        )
    count = len(names) - len(released)
    if before is not None:
        yield Send(before, Summary(len(released), count))
    return Output(
        sealed=moments.seal(params, released, count),
        units=len(names),
        metrics=metrics | {"groups_suppressed": count},
    )


def _encrypt(
    key: paillier.PublicKey, own: list[Moments], suppressed: list[bool], session: Session
) -> paillier.EncryptedArray:
    # A part that is too small does not even travel encrypted.
    plain = [0 if flag else part.pack() for part, flag in zip(own, suppressed, strict=True)]
    return paillier.encrypt_ints(key, plain, bound=moments.BOUND, rng=session.rng)


def _roles(spec: JobSpec, params: Params) -> tuple[str, ...]:
    moments.public_key(params)
    require_consumer_apart(spec)
    return stacked_roles(spec)


def _columns(spec: JobSpec, params: Params, role: str) -> tuple[str, ...]:
    return params.value_columns


def _open(session: Session, payloads: Mapping[str, bytes]) -> dict[str, Any]:
    return moments.open_totals(session, payloads, "p1")


KIND = register(
    JobKind(
        name="stats.horizontal",
        operation="stats",
        params=Params,
        roles=_roles,
        columns=_columns,
        units=moments.units,
        start=start,
        open_result=_open,
        prepare=moments.prepare,
        result_roles=("p1",),
        role_names=("p*",),
        unit="group",
        example={
            "value": "mean radius",
            "group_by": "diagnosis",
            "groups": ["malignant", "benign"],
            "filter": [],
            "key_bits": 3072,
        },
    )
)
