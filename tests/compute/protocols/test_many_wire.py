"""What crosses in psi.many: who may not learn does not."""

import hashlib
from typing import Any

import numpy as np
import pytest

from compute.protocols.identifiers import Normalisation
from compute.protocols.keyset import key_set
from compute.protocols.protocol import Part
from compute.protocols.psi.ecdh.oprf import Points
from compute.protocols.psi.many import compare
from compute.protocols.psi.many.agreement import Hello
from compute.protocols.psi.many.programmed import evaluate
from compute.protocols.psi.many.zero_sharing import PairKeys, share
from compute.protocols.stream import Block
from compute.wire import codec
from tests.compute.protocols.jobs import Job, crossed
from tests.compute.protocols.many_jobs import many, texts


def test_bytes_and_progress_do_not_tell_the_size_of_the_intersection() -> None:
    seconds = [texts(*range(20)), texts(*range(17, 37))]
    runs = [
        many([texts(*range(20)), one, texts(*range(-5, 20))], output_to=["p1", "p2", "p3"]).run()
        for one in seconds
    ]
    assert [len(run.outputs["p2"].rows) for run in runs] == [20, 3]
    for role in ("p1", "p2", "p3"):
        assert len({run.bytes_sent(role) for run in runs}) == 1
        assert runs[0].progress[role] == runs[1].progress[role]


def test_parties_that_do_not_lead_exchange_sizes_and_keys_alone() -> None:
    run = many([texts(*range(9)), texts(*range(8)), texts(*range(7))], output_to=["p2"]).run()
    between = [m for m in run.wire if {m.sender, m.receiver} == {"p1", "p3"}]
    assert len(between) == 2
    assert all(codec.decode(Hello, m.data).count in (9, 7) for m in between)


@pytest.mark.parametrize("protocol_name", ["ecdh", "rr22"])
def test_no_identifier_crosses_and_two_runs_share_nothing(protocol_name: str) -> None:
    ids = [f"patient-{i:05}" for i in range(40)]
    sets = [ids[:30], ids[5:], ids[:35]]
    roles = ["p1", "p2", "p3"]
    runs = [many(sets, output_to=roles, protocol=protocol_name, seed=seed).run() for seed in (1, 2)]
    data = b"".join(message.data for run in runs for message in run.wire)
    for text in ids:
        assert text.encode() not in data
        for name in ("md5", "sha1", "sha256", "sha512", "sm3"):
            assert hashlib.new(name, text.encode()).digest()[:8] not in data
    pieces = []
    for run in runs:
        found = {m.data[at : at + 32] for m in crossed(run, Points) for at in range(0, len(m.data), 32)}
        found |= {m.data[at : at + 8] for m in crossed(run, Block) for at in range(0, len(m.data) - 7, 8)}
        found |= {m.key for m in crossed(run, Hello)}
        pieces.append(found)
    assert len(pieces[0]) > 500
    # RR22 pads lists of points with zeros and counts; nothing else may be in both.
    assert not {piece for piece in pieces[0] & pieces[1] if len(set(piece)) > 2}


def test_the_store_of_a_peer_tells_the_leader_nothing_about_what_only_the_two_share(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: dict[str, np.ndarray] = {}
    items: list[np.ndarray] = []

    def recording(session: Any, peer: str, oprf: Any, buckets: Any, *rest: Any) -> Part[Any]:
        (values,) = yield from evaluate(session, peer, oprf, buckets, *rest)
        seen[peer] = values.copy()
        items[:] = buckets
        return [values]

    monkeypatch.setattr(compare, "evaluate", recording)
    job = many([texts(*range(20)), texts(*range(15)), texts(*range(10, 30))])
    assert job.result()["count"] == 5
    # 0-9 with p2 alone, 15-19 with p3 alone: only where both have the key does anything cancel.
    mine = share_of_leader(job, items[0])
    total = mine ^ seen["p2"] ^ seen["p3"]
    zero = {key for key, row in zip(names_of(job, items[0]), total, strict=True) if not row.any()}
    assert zero == {f"k{i}" for i in range(10, 15)}
    for peer in ("p2", "p3"):
        assert len(np.unique(seen[peer])) == 20
        assert not (mine ^ seen[peer] == 0).any()


def share_of_leader(job: Job, items: np.ndarray) -> np.ndarray:
    run_keys: dict[str, bytes] = {}
    # Each draws the salt of its commitment first.
    seeds = {role: job.session(role).rng(64)[32:] for role in job.roles}
    pairs = {role: PairKeys(role, job.binding, seeds[role]) for role in job.roles}
    for role in ("p2", "p3"):
        run_keys[role] = pairs["p1"].with_peer(role, pairs[role].public, b"share")
        assert run_keys[role] == pairs[role].with_peer("p1", pairs["p1"].public, b"share")
    return share(run_keys.values(), items, 1)


def names_of(job: Job, items: np.ndarray) -> list[str]:
    """The keys of p1 behind its items."""
    found = key_set(job.tables["p1"], ["idp1"], Normalisation())
    names = job.tables["p1"].column("idp1").to_pylist()
    rows = {
        digest.tobytes(): found.rows[at] for digest, at in zip(found.digests, found.offsets, strict=False)
    }
    return [names[rows[item.tobytes()]] for item in items]
