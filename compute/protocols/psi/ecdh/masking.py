"""Double masking: each side's keys under both sides' secrets, as tags of which the order says nothing.

Both roles run `double_mask`: each hashes its items to the curve, multiplies by its own fresh scalar and sends
them; each multiplies what it gets once more. Scalars commute, so equal items end in equal tags. A role that
returns the peer's tags sorts them first: the peer then counts how many are known to both, not which.

Source: Huberman, Franklin, Hogg, "Enhancing Privacy and Trust in Electronic Communities", EC 1999; with the
shuffle of Ion et al., "On Deploying Secure Computing: Private Intersection-Sum-with-Cardinality", EuroS&P
2020.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from accel import sm3
from compute.errors import ProtocolAbort
from compute.protocols.protocol import Call, Part, Progress, Send, Session, compute
from compute.protocols.psi.ecdh.curves import GROUPS, Rows, blind, multiply_received
from compute.protocols.psi.ecdh.oprf import BLOCK, LEAD, Function, Points, receive_block, spans_of
from compute.protocols.stream import receive_array, send_array

# A tag as it is kept; on the wire it is cut to `stream.tag_bytes`.
TAG_BYTES = 16


def double_mask(session: Session, peer: str, function: Function, items: Rows, theirs: int) -> Part[Rows]:
    """Exchange masked items; returns tags of the peer's ``theirs`` items in its order, (theirs, 16).

    ``items`` (n, 32) are distinct and in random order already. Raises ProtocolAbort for blocks that are not
    due and for points that are invalid or repeated.
    """
    group = GROUPS[function.curve]
    scalar = group.random_scalar(session.rng)
    tags = np.empty((theirs, TAG_BYTES), np.uint8)
    sent = done = 0
    while sent < len(items) or done < theirs:
        # Both sides are ahead of each other by LEAD blocks, and wait for half as many at most.
        while sent < len(items) and (sent - done < LEAD * BLOCK or done == theirs):
            spans = spans_of(sent, len(items), session)
            calls = [Call(blind, (function.curve, items[a:b], function.dst, scalar)) for a, b in spans]
            for (first, last), points in zip(spans, (yield from compute(calls)), strict=True):
                yield Send(peer, Points(first // BLOCK, points.tobytes()))
                sent = last
            yield Progress("psi.blind", sent, len(items))
        if done == theirs:
            continue
        spans = spans_of(done, theirs, session)
        calls = []
        for first, last in spans:
            points = yield from receive_block(peer, first, last - first, group.point_bytes)
            calls.append(Call(tags_of_received, (function, points, scalar, peer)))
        for (first, last), block in zip(spans, (yield from compute(calls)), strict=True):
            tags[first:last] = block
            done = last
        yield Progress("psi.double_blind", done, theirs)
    require_different(tags, f"{peer} sent a group element twice")
    return tags


def tags_of_received(function: Function, points: Rows, scalar: bytes, peer: str) -> Rows:
    """A `Call`: the peer's points times our scalar, as tags of 16 bytes; ProtocolAbort if one is invalid."""
    doubled = multiply_received(function.curve, points, scalar, peer)
    return np.ascontiguousarray(sm3.digest_many(doubled, prefix=function.context)[:, :TAG_BYTES])


def send_sorted(peer: str, tags: Rows, width: int) -> Part[None]:
    """Return the peer's own tags, cut to ``width`` bytes, in the order of their bytes."""
    ordered = tags[order_of(tags), :width]
    yield from send_array(
        peer, len(tags), width, lambda first, last: ordered[first:last].tobytes(), "psi.match"
    )


def receive_sorted(peer: str, count: int, width: int) -> Part[Rows]:
    """Our own tags from the peer, (count, width); ProtocolAbort unless they ascend strictly."""
    data = yield from receive_array(peer, count, width, "psi.match")
    tags = np.frombuffer(data, np.uint8).reshape(count, width)
    words = _words(tags)
    high, low = words[:, 0], words[:, 1]
    if not ((high[:-1] < high[1:]) | (high[:-1] == high[1:]) & (low[:-1] < low[1:])).all():
        raise ProtocolAbort(f"{peer} returned tags that repeat or are not sorted")
    return tags


def member(tags: Rows, among: Rows) -> npt.NDArray[np.bool_]:
    """Which rows of ``tags`` occur in ``among``; equal widths of at most 16 bytes."""
    both = _words(np.concatenate([tags, among]))
    order = np.lexsort((both[:, 1], both[:, 0]))
    changes = np.empty(len(both), np.int64)
    changes[:1] = 0
    ordered = both[order]
    changes[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    number = np.empty(len(both), np.int64)
    number[order] = np.cumsum(changes)
    known = np.zeros(len(both) + 1, np.bool_)
    known[number[len(tags) :]] = True
    found: npt.NDArray[np.bool_] = known[number[: len(tags)]]
    return found


def order_of(tags: Rows) -> npt.NDArray[np.int64]:
    """The order of tags by their bytes."""
    words = _words(tags)
    return np.lexsort((words[:, 1], words[:, 0])).astype(np.int64)


def require_different(tags: Rows, why: str) -> None:
    """Raise ProtocolAbort with this reason if two tags are equal."""
    ordered = _words(tags)[order_of(tags)]
    if (ordered[1:] == ordered[:-1]).all(axis=1).any():
        raise ProtocolAbort(why)


def _words(tags: Rows) -> npt.NDArray[np.uint64]:
    """Tags as two words each that sort as their bytes do."""
    padded = np.zeros((len(tags), TAG_BYTES), np.uint8)
    padded[:, : tags.shape[1]] = tags
    return padded.view(">u8").astype(np.uint64)
