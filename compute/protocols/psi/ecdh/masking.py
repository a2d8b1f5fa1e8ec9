"""Double masking: each side's keys under both sides' secrets, as tags of which the order says nothing.

    both           Size
    per step       {secret · H(item)} of a stretch of each side's items, in one uniformly random order
    both           no tag occurs twice; from here on no other points are taken
    who is asked   the peer's own tags under both secrets, in the order of their bytes (`returning`)

Scalars commute, so equal items end in equal tags. A role that returns the peer's tags sorts them first: the
peer then counts how many are known to both, not which.

Nothing is held that grows with the sets: items lie in their random order on disk, the peer's tags in bins by
their first bits, which are sorted, sent and compared one at a time. A bin is local and says nothing: tags are
pseudorandom, and what is in it is known only to who compares, who cannot tell which keys these are.

A job that goes on from a checkpoint uses the secret, the order and the tags it began with, and only for the
same input: what is sent again is what was sent before. Two checkpoints lie between the last point and the
first tag, and no role is ever wound back by more than one: so nobody gets the tags of a second set.

Source: Huberman, Franklin, Hogg, "Enhancing Privacy and Trust in Electronic Communities", EC 1999; with the
shuffle of Ion et al., "On Deploying Secure Computing: Private Intersection-Sum-with-Cardinality", EuroS&P
2020.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from accel import sm3
from compute.errors import DataError, ProtocolAbort
from compute.protocols.keyset import DIGEST_BYTES
from compute.protocols.protocol import (
    Call,
    Checkpoint,
    Part,
    Progress,
    Send,
    Session,
    compute,
    receive,
)
from compute.protocols.psi.bins import Bins, Rows, bins_for, rows_of, shuffle
from compute.protocols.psi.buckets import Facts, bound
from compute.protocols.psi.ecdh.curves import GROUPS, blind, multiply_received
from compute.protocols.psi.ecdh.oprf import BLOCK, LEAD, Function, Points, receive_block, spans_of
from compute.protocols.psi.matching import in_order, repeats, words_of
from compute.protocols.sets import Size, check_peer_size
from compute.protocols.workspace import Workspace

# A tag as it is kept; on the wire it is cut to `returning.returned_bytes`.
TAG_BYTES = 16
PLACE_BYTES = 8
# A step is at least so many blocks (2 s of a core on curve25519), and at most one of so many of the job.
STEP_BLOCKS = 16
MOST_STEPS = 256
# What a tag takes while its bin is compared.
_MATCH_BYTES = 128

_BEGUN = "mask.begun"
_ITEMS = "mask.items"
_TAGS = "mask.tags"


class _Begun(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a job that goes on has to go on with: its input, its secret, both sizes, how tags are dealt."""

    checksum: bytes
    scalar: bytes
    mine: int
    theirs: int
    bins: int


@dataclass(frozen=True, repr=False)  # holds a secret
class Masking:
    """One role's part. ``records`` are ours in their random order, mapped; each begins with an item.

    ``tags`` are the peer's under both secrets; with their places if ``placed``.
    """

    session: Session
    peer: str
    function: Function
    scalar: bytes
    mine: int
    theirs: int
    records: Rows
    tags: Bins

    @property
    def placed(self) -> bool:
        """Does every tag of the peer carry the place at which its point came?"""
        return self.tags.width > TAG_BYTES

    @property
    def step(self) -> int:
        """How many items of each side a step has: public, and the same at both."""
        blocks = -(-max(self.mine, self.theirs) // BLOCK)
        return BLOCK * max(STEP_BLOCKS, -(-blocks // MOST_STEPS))

    @property
    def steps(self) -> int:
        """How many steps there are; one even if there is nothing to do."""
        return max(1, -(-max(self.mine, self.theirs) // self.step))

    @property
    def sealed(self) -> int:
        """The checkpoint from which on no points are taken: the last of `exchange`."""
        return self.steps + 1

    def bin_of(self, tags: Rows) -> npt.NDArray[np.int64]:
        """The bin of each tag: ascending tags have ascending bins."""
        if self.tags.count == 1:
            return np.zeros(len(tags), np.int64)
        return (words_of(tags)[:, 0] >> np.uint64(65 - self.tags.count.bit_length())).astype(np.int64)


def begin(
    session: Session,
    peer: str,
    function: Function,
    source: Facts,
    records: Iterable[Rows],
    width: int = DIGEST_BYTES,
    *,
    placed: bool = False,
) -> Part[Masking]:
    """Exchange sizes and put our records in their random order; or take up what was begun.

    ``records`` are distinct items of 32 bytes, each with whatever belongs to it, ``source.count`` in all.
    Raises CohortTooSmall or ProtocolAbort if the peer's set may not be compared with ours, and ProtocolAbort
    if a job that goes on has another input than it began with.
    """
    workspace = session.workspace
    if session.resumed:
        begun = _read(workspace)
        if not hmac.compare_digest(begun.checksum, source.checksum):
            raise ProtocolAbort("our input is another than when the job began: start a new job")
    else:
        yield Send(peer, Size(source.count))
        theirs = (yield from receive(peer, Size)).count
        check_peer_size(peer, theirs, session.params.max_elements, session.min_cohort)
        yield from shuffle(session, _ITEMS, records, source.count, width)
        scalar = GROUPS[function.curve].random_scalar(session.rng)
        bins = bins_for((source.count + theirs) * _MATCH_BYTES, session.memory_bytes)
        begun = _Begun(source.checksum, scalar, source.count, theirs, bins)
        workspace.write(_BEGUN, msgspec.msgpack.encode(begun))
    tags = Bins(workspace, _TAGS, begun.bins, TAG_BYTES + PLACE_BYTES * placed)
    if not session.resumed:
        tags.clear()
    ours = rows_of(workspace.read(_ITEMS), width)
    return Masking(session, peer, function, begun.scalar, begun.mine, begun.theirs, ours, tags)


def exchange(side: Masking) -> Part[None]:
    """Mask both sides' items; the peer's tags lie in ``side.tags`` then. Yields checkpoints 1 to ``sealed``.

    Raises ProtocolAbort for blocks that are not due and for points that are invalid or repeated.
    """
    for step in range(side.session.resumed, side.steps):
        yield from _step(side, step)
        yield Checkpoint(step + 1)
    if side.session.resumed < side.sealed:
        yield from _require_different(side)
        yield Checkpoint(side.sealed)


def tags_of_received(function: Function, points: Rows, scalar: bytes, peer: str) -> Rows:
    """A `Call`: the peer's points times our scalar, as tags of 16 bytes; ProtocolAbort if one is invalid."""
    doubled = multiply_received(function.curve, points, scalar, peer)
    return np.ascontiguousarray(sm3.digest_many(doubled, prefix=function.context)[:, :TAG_BYTES])


def _step(side: Masking, step: int) -> Part[None]:
    session, peer, function = side.session, side.peer, side.function
    group, ours = GROUPS[function.curve], side.records
    sent, to_send = (min(at * side.step, side.mine) for at in (step, step + 1))
    done, to_do = (min(at * side.step, side.theirs) for at in (step, step + 1))
    while sent < to_send or done < to_do:
        # Both sides are ahead of each other by LEAD blocks, and wait for half as many at most.
        while sent < to_send and (sent - done < LEAD * BLOCK or done == to_do):
            spans = spans_of(sent, to_send, session)
            calls = [
                Call(blind, (function.curve, _items(ours[a:b]), function.dst, side.scalar)) for a, b in spans
            ]
            for (first, last), points in zip(spans, (yield from compute(calls)), strict=True):
                yield Send(peer, Points(first // BLOCK, points.tobytes()))
                sent = last
            yield Progress("psi.blind", sent, side.mine)
        if done == to_do:
            continue
        spans = spans_of(done, to_do, session)
        calls = []
        for first, last in spans:
            points = yield from receive_block(peer, first, last - first, group.point_bytes)
            calls.append(Call(tags_of_received, (function, points, side.scalar, peer)))
        for (first, last), tags in zip(spans, (yield from compute(calls)), strict=True):
            side.tags.deal(_placed(tags, first) if side.placed else tags, side.bin_of(tags))
            done = last
        yield Progress("psi.double_blind", done, side.theirs)


def _items(records: Rows) -> Rows:
    return np.ascontiguousarray(records[:, :DIGEST_BYTES])


def _placed(tags: Rows, first: int) -> Rows:
    places = np.arange(first, first + len(tags), dtype=np.int64)
    return np.concatenate([tags, places.view(np.uint8).reshape(-1, PLACE_BYTES)], axis=1)


def places_of(records: Rows) -> npt.NDArray[np.int64]:
    """The places that records of tags carry."""
    return np.ascontiguousarray(records[:, TAG_BYTES:]).view(np.int64).reshape(-1)


def _require_different(side: Masking) -> Part[None]:
    """Before a tag goes out: multiplicities among them would tell which they are."""
    total, most = 0, bound(side.theirs, side.tags.count)
    for index in range(side.tags.count):
        tags = side.tags.read(index)
        total += len(tags)
        # More than fall into a bin by chance are the same few again and again.
        if len(tags) > most or repeats(in_order(tags[:, :TAG_BYTES])):
            raise ProtocolAbort(f"{side.peer} sent a group element twice")
        yield Progress("psi.match", 0, side.theirs)
    if total != side.theirs:
        raise DataError("the tags in the job's workspace are not those of its points")


def _read(workspace: Workspace) -> _Begun:
    try:
        return msgspec.msgpack.decode(workspace.read(_BEGUN), type=_Begun)
    except msgspec.MsgspecError as error:
        raise DataError(f"{_BEGUN} in the workspace is damaged") from error
