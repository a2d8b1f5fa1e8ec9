"""Sums of columns over an intersection and its size, for a consumer who holds no data: private
intersection-sum.

``values`` holds numbers per key, ``members`` says which keys count, the consumer alone learns the result:

    members ↔ values   Size; {a·H(y)} and {b·H(x)}, each in random order
    values → members   tags of members' keys under both secrets, sorted;
                       Enc(rows, sums of x's rows) in the order of its masked keys
    members            compares tags, adds the ciphertexts that match, rerandomises
    members → consumer how many matched, the sums under its key

Sets larger than the memory lie on disk (`compute.protocols.psi.ecdh.masking`). A job that was cut goes on
from its last checkpoint: those of the points, one after the tags, one between stretches of ciphertexts.

Source: Ion, Kreuter, Nergiz, Patel, Saxena, Seth, Raykova, Shanahan, Yung, "On Deploying Secure Computing:
Private Intersection-Sum-with-Cardinality", EuroS&P 2020, figure 2; here the key belongs to the consumer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

import msgspec
import numpy as np
import pyarrow as pa
from msgspec import Meta

from accel.packing import PackedArray
from compute.errors import BadInput, CohortTooSmall, ProtocolAbort
from compute.protocols import filters
from compute.protocols.identifiers import Normalisation
from compute.protocols.participants import require_consumer_apart, require_roles
from compute.protocols.protocol import (
    Call,
    Checkpoint,
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
from compute.protocols.psi.bins import Bins, Rows
from compute.protocols.psi.buckets import Source, collect
from compute.protocols.psi.ecdh.curves import CurveName
from compute.protocols.psi.ecdh.masking import (
    PLACE_BYTES,
    TAG_BYTES,
    Masking,
    begin,
    exchange,
    places_of,
)
from compute.protocols.psi.ecdh.oprf import Function, context
from compute.protocols.psi.ecdh.returning import compare_tags, return_tags
from compute.protocols.psi.sum import totals
from compute.protocols.psi.sum.filtered import filtered
from compute.protocols.sets import BothKeys, check_size, large_enough
from compute.protocols.stats.moments import PublicKeyText
from compute.protocols.stream import Block, block_items
from compute.wire.messages import JobSpec, Name

ROLES = ("values", "members")
# Keys of which the ciphertexts cross between two checkpoints: seconds of encrypting, or one of so many parts.
_LEAST_STRETCH = 1 << 13
_MOST_STRETCHES = 256
_TOTAL = "sum.total"


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
    table = filtered(session, table, params.filter)
    totals.check_columns(table, params.values)
    source = yield from collect(session, table, params.keys.values, params.normalise)
    check_size("values", source.count, params.max_elements, session.min_cohort)
    pieces = (
        records
        for keys in source.pieces()
        for records in totals.records(table, keys, params.values, session.memory_bytes)
    )
    side = yield from begin(
        session,
        "members",
        _function(session),
        replace(source, checksum=totals.checksum(table, params.values, source.checksum)),
        pieces,
        totals.width_of(len(params.values)),
    )
    yield from exchange(side)
    if session.resumed <= side.sealed:
        yield from return_tags(side)
        yield Checkpoint(side.sealed + 1)
    stretches = _stretches(params, side.mine)
    for index in range(_done(side), len(stretches)):
        yield from _send_encrypted(side, stretches[index])
        if index + 1 < len(stretches):
            yield Checkpoint(side.sealed + 2 + index)
    return Output(units=source.count, metrics=_metrics(source, side))


def _members(session: Session, table: pa.Table) -> Steps:
    """Learns how many distinct keys ``values`` has, and how many of them are among its own."""
    params: Params = session.params
    source = yield from collect(session, table, params.keys.members, params.normalise)
    check_size("members", source.count, params.max_elements, session.min_cohort)
    pieces = (keys.digests for keys in source.pieces())
    side = yield from begin(session, "values", _function(session), source, pieces, placed=True)
    yield from exchange(side)
    stretches = _stretches(params, side.theirs)
    matched = Bins(session.workspace, "sum.matched", max(1, len(stretches)), PLACE_BYTES)
    if session.resumed <= side.sealed:
        yield from _match(side, matched, stretches)
        yield Checkpoint(side.sealed + 1)
    counts = [len(matched.read(index)) for index in range(matched.count)]
    _require_enough(sum(counts), side.theirs, session.min_cohort)
    done = _done(side)
    total = _total_so_far(side, sum(counts[:done]))
    for index in range(done, len(stretches)):
        total = yield from _add_matches(side, stretches[index], matched.read(index), total)
        if index + 1 < len(stretches):
            if total is not None:
                session.workspace.write(_TOTAL, totals.kept(total, session.rng))
            yield Checkpoint(side.sealed + 2 + index)
    if total is None:
        raise ProtocolAbort("nothing was added")
    sealed = totals.seal(total, sum(counts), session.rng)
    return Output(sealed=sealed, units=source.count, metrics=_metrics(source, side))


def _stretches(params: Params, count: int) -> list[range]:
    """The keys of ``values`` between two checkpoints, in whole blocks: public, and the same at both."""
    block = block_items(_row_bytes(params))
    step = block * -(-max(_LEAST_STRETCH, -(-count // _MOST_STRETCHES)) // block)
    return [range(first, min(first + step, count)) for first in range(0, count, step)]


def _done(side: Masking) -> int:
    """How many stretches earlier attempts have done."""
    return max(0, side.session.resumed - side.sealed - 1)


def _send_encrypted(side: Masking, stretch: range) -> Part[None]:
    """Send the ciphertexts of a stretch of keys; as many blocks are made at once as pays."""
    session, records = side.session, side.records
    params: Params = session.params
    block = block_items(_row_bytes(params))
    for at in range(stretch.start, stretch.stop, session.parallel * block):
        firsts = range(at, min(at + session.parallel * block, stretch.stop), block)
        calls = []
        for first in firsts:
            plain = totals.sums_in(records[first : min(first + block, stretch.stop)])
            seed = session.rng(totals.SEED_BYTES)
            calls.append(Call(totals.encrypt, (params.scheme, params.public_key, plain, seed)))
        for first, data in zip(firsts, (yield from compute(calls)), strict=True):
            yield Send("members", Block(first // block, data))
        yield Progress("stats.encrypt", min(firsts.stop, stretch.stop), side.mine)


def _match(side: Masking, matched: Bins, stretches: list[range]) -> Part[None]:
    """Keep the places of the keys that both have, by stretch."""
    matched.clear()
    step = len(stretches[0]) if stretches else 1

    def keep(found: Rows) -> None:
        matched.deal(np.ascontiguousarray(found[:, TAG_BYTES:]), places_of(found) // step)

    yield from compare_tags(side, keep)


def _require_enough(matched: int, count: int, floor: int) -> None:
    if large_enough(matched, count, floor):
        return
    if floor <= 1:
        # Then it can be nothing else.
        raise CohortTooSmall(
            "members and values have no key in common, so there is nothing to add: check key columns and "
            "normalisation on both sides",
            floor=floor,
        )
    raise CohortTooSmall(
        f"the intersection, or what values has outside it, is below the floor of {floor}", floor=floor
    )


def _total_so_far(side: Masking, count: int) -> PackedArray | None:
    """What earlier attempts have added, of ``count`` keys."""
    if not count:
        return None
    params: Params = side.session.params
    public = totals.public_key(params.scheme, params.public_key)
    return totals.restored(public, side.session.workspace.read(_TOTAL), count, len(params.values))


def _add_matches(
    side: Masking, stretch: range, matched: Rows, total: PackedArray | None
) -> Part[PackedArray | None]:
    """Add what matches in a stretch block by block, as it comes: the ciphertexts do not fit the memory."""
    params: Params = side.session.params
    public = totals.public_key(params.scheme, params.public_key)
    places = np.sort(matched.view(np.int64).reshape(-1))
    block = block_items(_row_bytes(params))
    for first in range(stretch.start, stretch.stop, block):
        last = min(first + block, stretch.stop)
        data = yield from _block(params, first // block, last - first)
        chosen = places[slice(*np.searchsorted(places, (first, last)))] - first
        part = totals.received(public, data, chosen, len(params.values), "values")
        if len(chosen):
            added = part.sum(axis=0)
            total = added if total is None else total + added
        yield Progress("stats.receive", last, side.theirs)
    return total


def _block(params: Params, index: int, count: int) -> Part[bytes]:
    block = yield from receive("values", Block)
    if block.index != index or len(block.data) != count * _row_bytes(params):
        raise ProtocolAbort(f"values sent ciphertexts that were not due: block {index} of {count} keys was")
    return block.data


def _row_bytes(params: Params) -> int:
    public = totals.public_key(params.scheme, params.public_key)
    return public.ciphertext_bytes * totals.carriers_of(public, len(params.values))


def _function(session: Session) -> Function:
    params: Params = session.params
    return Function(params.curve, context(params.curve, b"sum", session.binding))


def _metrics(source: Source, side: Masking) -> dict[str, int]:
    return {
        "elements": source.count,
        "peer_elements": side.theirs,
        "rows_repeated": source.repeated,
        "rows_without_key": source.without_key,
        "rows_unfit": source.unfit,
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
        resumable=True,
    )
)
