"""The main story on a real chain: enrol, register, grant, reserve, commit, and what is left of the quota."""

from __future__ import annotations

import secrets

from contracts import eip712
from contracts.eip712 import Line, Outcome, Revocation, Role
from contracts.records import ReservationState
from tests.chain_lab import RELEASE_GRACE_S, Lab


def test_a_use_is_reserved_receipted_and_charged(lab: Lab) -> None:
    provider, consumer = lab.party(Role.PROVIDER), lab.party(Role.CONSUMER)
    dataset = lab.dataset(provider)
    start = lab.chain.head().number
    grant = lab.activate(lab.grant_of(provider, consumer, dataset, quota=10, epsilon_micro=5), provider)
    request = lab.request(consumer, Line(grant, 7, 2))
    job = lab.reserve(request, consumer)

    held = lab.chain.grant(grant)
    assert held is not None
    assert (held.reserved, held.used, held.left) == (7, 0, 3)
    assert (held.epsilon_reserved, held.epsilon_left) == (2, 3)

    receipt = lab.receipt(provider, job, grant, request.spec_hash, units=4, epsilon_micro=1)
    lab.commit([receipt], provider)
    settled = lab.chain.grant(grant)
    assert settled is not None
    assert (settled.reserved, settled.used, settled.left) == (0, 4, 6)
    assert (settled.epsilon_reserved, settled.epsilon_used) == (0, 1)
    reservation = lab.chain.reservation(job, grant)
    assert reservation is not None
    assert reservation.state is ReservationState.SETTLED
    assert reservation.spec_hash == request.spec_hash

    tip = lab.chain.node_tip(provider.id)
    assert (tip.sequence, tip.digest) == (1, eip712.struct_hash(receipt))
    batch = lab.chain.batch(provider.id, 1)
    assert batch is not None
    assert (batch.count, batch.root) == (1, lab.batch_of([receipt]).root)

    names = [event.name for event in lab.chain.events(start + 1, lab.chain.head().number)]
    assert names == [
        "GrantActivated",
        "JobReserved",
        "LineReserved",
        "BatchAnchored",
        "ReceiptAnchored",
        "LineSettled",
    ]


def test_reads_at_an_older_block_see_the_older_state(lab: Lab) -> None:
    provider, consumer = lab.party(Role.PROVIDER), lab.party(Role.CONSUMER)
    dataset = lab.dataset(provider)
    before = lab.chain.head()
    grant = lab.activate(lab.grant_of(provider, consumer, dataset), provider)
    assert lab.chain.grant(grant, block=before) is None
    assert lab.chain.grant(grant, block=before.number) is None
    assert lab.chain.grant(grant, block=lab.chain.head()) is not None
    assert lab.chain.at_depth(1) == before


def test_what_is_reserved_and_unused_comes_back_after_the_deadline(fresh_lab: Lab) -> None:
    lab = fresh_lab
    provider, consumer = lab.party(Role.PROVIDER), lab.party(Role.CONSUMER)
    grant = lab.activate(lab.grant_of(provider, consumer, lab.dataset(provider), quota=5), provider)
    job = lab.reserve(lab.request(consumer, Line(grant, 5, 0), deadline_s=60), consumer)
    assert lab.refused(lab.chain.release_call(job, grant)).name == "ReleaseTooEarly"
    lab.advance(60 + RELEASE_GRACE_S)
    lab.send(lab.chain.release_call(job, grant), key=secrets.token_bytes(32))  # anyone may
    record = lab.chain.grant(grant)
    assert record is not None
    assert record.left == 5


def test_a_simulation_sees_time_pass_on_a_quiet_chain(fresh_lab: Lab) -> None:
    lab = fresh_lab
    provider, consumer = lab.party(Role.PROVIDER), lab.party(Role.CONSUMER)
    grant = lab.activate(lab.grant_of(provider, consumer, lab.dataset(provider), quota=5), provider)
    job = lab.reserve(lab.request(consumer, Line(grant, 5, 0), deadline_s=60), consumer)
    lab.chain.rpc.call("evm_increaseTime", 60 + RELEASE_GRACE_S + 5)  # and no block is mined
    lab.chain.simulate(lab.chain.release_call(job, grant))


def test_a_revoked_grant_takes_no_reservation_and_still_settles_what_was_held(lab: Lab) -> None:
    provider, consumer = lab.party(Role.PROVIDER), lab.party(Role.CONSUMER)
    grant = lab.activate(lab.grant_of(provider, consumer, lab.dataset(provider)), provider)
    request = lab.request(consumer, Line(grant, 5, 0))
    job = lab.reserve(request, consumer)
    revocation = Revocation(grant)
    lab.send(lab.chain.revoke_call(revocation, lab.sign("UsageLedger", revocation, provider)))

    again = lab.request(consumer, Line(grant, 1, 0))
    refused = lab.refused(lab.chain.reserve_call(again, lab.sign("UsageLedger", again, consumer)))
    assert refused.name == "GrantRevoked"
    assert refused.arguments == {"grant": grant}

    failed = lab.receipt(provider, job, grant, request.spec_hash, outcome=int(Outcome.CANCELLED))
    lab.commit([failed], provider)
    record = lab.chain.grant(grant)
    assert record is not None
    assert record.revoked
    assert (record.used, record.reserved) == (0, 0)
