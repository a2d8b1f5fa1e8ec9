"""Sums of columns over an intersection and its size, for a consumer who holds no data: private
intersection-sum.

``values`` holds numbers per key, ``members`` says which keys count, the consumer alone learns the result:

    members ↔ values   Size; {a·H(y)} and {b·H(x)}, each in random order
    values → members   tags of members' keys under both secrets, sorted;
                       Enc(rows, sums of x's rows) in the order of its masked keys
    members            compares tags, adds the ciphertexts that match, rerandomises
    members → consumer how many matched, the sums under its key

Source: Ion, Kreuter, Nergiz, Patel, Saxena, Seth, Raykova, Shanahan, Yung, "On Deploying Secure Computing:
Private Intersection-Sum-with-Cardinality", EuroS&P 2020, figure 2; here the key belongs to the consumer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from msgspec import Meta

from compute.errors import BadInput, CohortTooSmall, ProtocolAbort
from compute.protocols import filters
from compute.protocols.identifiers import Normalisation
from compute.protocols.keyset import KeySet, key_set
from compute.protocols.participants import require_consumer_apart, require_roles
from compute.protocols.protocol import (
    Call,
    JobKind,
    Output,
    Part,
    Progress,
    Send,
    Session,
    Steps,
    compute,
    receive,
    register,
)
from compute.protocols.psi.ecdh.curves import CurveName
from compute.protocols.psi.ecdh.masking import double_mask, member, receive_sorted, send_sorted
from compute.protocols.psi.ecdh.oprf import Function, context
from compute.protocols.psi.sum import totals
from compute.protocols.sets import Size, check_peer_size, check_size
from compute.protocols.stats.moments import PublicKeyText
from compute.protocols.stats.vertical.protocol import BothKeys, large_enough
from compute.protocols.stream import Block, block_items, tag_bytes, uniform_order
from compute.wire.messages import JobSpec, Name

ROLES = ("values", "members")


class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Parameters of a sum over an intersection. ``filter`` applies to the rows of ``values``."""

    keys: BothKeys
    values: Annotated[tuple[Name, ...], Meta(min_length=1, max_length=32)]
    public_key: PublicKeyText
    scheme: totals.Scheme = "paillier"
    normalise: Normalisation = Normalisation()
    filter: filters.Conditions = ()
    curve: CurveName = "curve25519"
    max_elements: Annotated[int, Meta(ge=1, le=totals.MAX_ROWS)] = 100_000

    def __post_init__(self) -> None:
        if len(self.keys.values) != len(self.keys.members):
            raise ValueError("keys: both roles need the same number of key columns")
        if len(set(self.values)) != len(self.values):
            raise ValueError("values: name a column once")


def start(session: Session, table: pa.Table | None) -> Steps:
    """The steps of ``values`` or of ``members``."""
    if table is None:
        raise BadInput("a role of psi.sum needs a table")
    return _values(session, table) if session.role == "values" else _members(session, table)


def _values(session: Session, table: pa.Table) -> Steps:
    """Learns how many distinct keys ``members`` has."""
    params: Params = session.params
    table = filters.apply(table, params.filter)
    keys = key_set(table, params.keys.values, params.normalise)
    check_size("values", len(keys), params.max_elements, session.min_cohort)
    order = uniform_order(len(keys), session.rng)
    sums = totals.sums_of(table, keys, params.values)

    yield Send("members", Size(len(keys)))
    count = (yield from receive("members", Size)).count
    check_peer_size("members", count, params.max_elements, session.min_cohort)
    theirs = yield from double_mask(session, "members", _function(session), keys.digests[order], count)
    yield from send_sorted("members", theirs, tag_bytes(len(keys), count))

    yield from _send_encrypted(session, sums, order)
    return Output(units=len(keys), metrics=_metrics(keys, count))


def _members(session: Session, table: pa.Table) -> Steps:
    """Learns how many distinct keys ``values`` has, and how many of them are among its own."""
    params: Params = session.params
    keys = key_set(table, params.keys.members, params.normalise)
    check_size("members", len(keys), params.max_elements, session.min_cohort)
    items = keys.digests[uniform_order(len(keys), session.rng)]

    yield Send("values", Size(len(keys)))
    count = (yield from receive("values", Size)).count
    check_peer_size("values", count, params.max_elements, session.min_cohort)
    theirs = yield from double_mask(session, "values", _function(session), items, count)
    width = tag_bytes(len(keys), count)
    mine = yield from receive_sorted("values", len(keys), width)
    matched = member(theirs[:, :width], mine)
    if not large_enough(int(matched.sum()), count, session.min_cohort):
        raise CohortTooSmall(
            f"the intersection, or what values has outside it, is below the floor of {session.min_cohort}",
            floor=session.min_cohort,
        )
    sealed = yield from _total(session, matched)
    return Output(sealed=sealed, units=len(keys), metrics=_metrics(keys, count))


def _send_encrypted(session: Session, sums: list[totals.KeySums], order: npt.NDArray[np.int64]) -> Part[None]:
    """Send the ciphertexts of all keys in this order; as many blocks are made at once as pays."""
    params: Params = session.params
    step = block_items(_row_bytes(params))
    blocks = range(0, len(order), step)
    for at in range(0, len(blocks), session.parallel):
        calls = []
        for first in blocks[at : at + session.parallel]:
            plain = [sums[index] for index in order[first : first + step].tolist()]
            seed = session.rng(totals.SEED_BYTES)
            calls.append(Call(totals.encrypt, (params.scheme, params.public_key, plain, seed)))
        for number, data in enumerate((yield from compute(calls)), at):
            yield Send("members", Block(number, data))
        yield Progress("stats.encrypt", min(blocks[at] + session.parallel * step, len(order)), len(order))


def _total(session: Session, matched: npt.NDArray[np.bool_]) -> Part[bytes]:
    """Add what matches block by block, as it comes: the ciphertexts of a large set do not fit the memory."""
    params: Params = session.params
    public = totals.public_key(params.scheme, params.public_key)
    total = None
    step = block_items(_row_bytes(params))
    for first in range(0, len(matched), step):
        chosen = np.flatnonzero(matched[first : first + step])
        count = min(step, len(matched) - first)
        data = yield from _block(params, first // step, count)
        if len(chosen):
            part = totals.received(public, data, chosen, len(params.values), "values").sum(axis=0)
            total = part if total is None else total + part
    if total is None:
        raise CohortTooSmall("nothing matched")
    return totals.seal(total, int(matched.sum()), session.rng)


def _block(params: Params, index: int, count: int) -> Part[bytes]:
    block = yield from receive("values", Block)
    if block.index != index or len(block.data) != count * _row_bytes(params):
        raise ProtocolAbort(f"values sent ciphertexts that were not due: block {index} of {count} keys was")
    yield Progress("stats.receive", index)
    return block.data


def _row_bytes(params: Params) -> int:
    public = totals.public_key(params.scheme, params.public_key)
    return public.ciphertext_bytes * totals.carriers_of(public, len(params.values))


def _function(session: Session) -> Function:
    params: Params = session.params
    return Function(params.curve, context(params.curve, b"sum", session.binding))


def _metrics(keys: KeySet, peer_count: int) -> dict[str, int]:
    return {
        "elements": len(keys),
        "peer_elements": peer_count,
        "rows_repeated": keys.repeated,
        "rows_without_key": keys.without_key,
        "rows_unfit": keys.unfit,
    }


def _roles(spec: JobSpec, params: Params) -> tuple[str, ...]:
    totals.public_key(params.scheme, params.public_key)
    require_consumer_apart(spec)
    return require_roles(spec, ROLES)


def _columns(spec: JobSpec, params: Params, role: str) -> tuple[str, ...]:
    if role == "members":
        return tuple(dict.fromkeys(params.keys.members))
    return tuple(dict.fromkeys((*params.keys.values, *params.values, *filters.columns_of(params.filter))))


def _units(spec: JobSpec, params: Params, role: str) -> int:
    return params.max_elements


def _open(session: Session, payloads: Mapping[str, bytes]) -> dict[str, Any]:
    params: Params = session.params
    return totals.open_totals(
        params.scheme, params.public_key, params.values, session.secrets, payloads, "members"
    )


KIND = register(
    JobKind(
        name="psi.sum",
        operation="psi",
        params=Params,
        roles=_roles,
        columns=_columns,
        units=_units,
        start=start,
        open_result=_open,
        prepare=totals.prepare,
        result_roles=("members",),
        role_names=ROLES,
        unit="distinct key compared",
        example={
            "keys": {"values": ["patient_id"], "members": ["pid"]},
            "normalise": {"trim": True, "case": "keep"},
            "values": ["mean radius", "mean texture"],
            "filter": [{"column": "age", "op": "ge", "value": "40"}],
            "scheme": "paillier",
            "curve": "curve25519",
            "max_elements": 100_000,
            "key_bits": 3072,
        },
    )
)
