"""Where storage is, and what survives: restarts, kills and reorganisations of the embedded chain."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts import slots, state_proof
from contracts.block_header import fields_of, header_hash
from contracts.eip712 import Line, Role
from contracts.errors import BadChainData, BlockUnknown
from tests.chain_lab import Anvil, Lab


def read_slot(lab: Lab, address: str, slot: int) -> int:
    return int(lab.chain.rpc.call("eth_getStorageAt", address, slots.name(slot), "latest"), 16)


def test_slots_hold_what_the_getters_say(lab: Lab) -> None:
    node, consumer = lab.party(Role.PROVIDER), lab.party(Role.CONSUMER)
    grant = lab.activate(lab.grant_of(node, consumer, lab.dataset(node), epsilon_micro=50), node)
    request = lab.request(consumer, Line(grant, 9, 3))
    job = lab.reserve(request, consumer)
    lab.commit([lab.receipt(node, job, grant, request.spec_hash, units=4)], node)
    ledger, registry = lab.chain.addresses["UsageLedger"], lab.chain.addresses["PartyRegistry"]

    batch = lab.chain.batch(node.id, 1)
    assert batch is not None
    root_slot, count_slot = slots.batch(node.id, 1)
    assert read_slot(lab, ledger, root_slot) == int.from_bytes(batch.root, "big")
    assert slots.split_count(read_slot(lab, ledger, count_slot)) == batch.count

    assert read_slot(lab, ledger, slots.grant_provider(grant)) == int.from_bytes(node.id, "big")
    held = lab.chain.reservation(job, grant)
    assert held is not None
    packed = slots.split_reservation(read_slot(lab, ledger, slots.reservation(job, grant)))
    assert packed == (held.units, held.epsilon_micro, held.deadline, held.state)

    party = lab.chain.party(node.id)
    assert party is not None
    address_slot, until_slot = slots.key(node.id, 0)
    address, valid_from = slots.split_address(read_slot(lab, registry, address_slot))
    assert "0x" + address.hex() == party.address.lower()
    assert valid_from == party.current.valid_from
    assert read_slot(lab, registry, until_slot) == 0

    target_slot, _ = slots.book_entry("UsageLedger", 0)
    target, _ = slots.split_address(read_slot(lab, lab.address_book, target_slot))
    assert "0x" + target.hex() == ledger.lower()


def test_a_proof_of_absence_is_zero_and_cannot_hide_a_value(lab: Lab) -> None:
    head = lab.chain.head()
    root = bytes.fromhex(lab.chain.raw_block(head)["stateRoot"][2:])
    registry = lab.chain.addresses["PartyRegistry"]
    party = lab.party(Role.CONSUMER)
    head = lab.chain.head()
    root = bytes.fromhex(lab.chain.raw_block(head)["stateRoot"][2:])
    present, absent = slots.key(party.id, 0)[0], slots.key(party.id, 1)[0]
    account_nodes, (present_nodes, absent_nodes) = lab.chain.storage_proof(
        registry, [slots.name(present), slots.name(absent)], block=head
    )
    account = state_proof.account(root, bytes.fromhex(registry[2:]), account_nodes, "x")
    assert state_proof.slot(account.storage_root, present, present_nodes, "x") != 0
    assert state_proof.slot(account.storage_root, absent, absent_nodes, "x") == 0
    for nodes in ([], present_nodes[:-1], absent_nodes):
        with pytest.raises(Exception, match=r"^x: "):
            state_proof.slot(account.storage_root, present, nodes, "x")


def test_a_header_hashes_to_its_block(lab: Lab) -> None:
    for block in (lab.chain.block(0), lab.chain.head()):
        raw = lab.chain.raw_block(block)
        assert header_hash(fields_of(raw)) == block.hash
        with pytest.raises(BadChainData):
            fields_of({**raw, "gasUsed": "0x1234567"})


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Anvil]:
    process = Anvil(state=tmp_path / "chain.json")
    process.start()
    yield process
    process.stop()


def test_a_restart_keeps_state_history_and_proofs(kept: Anvil) -> None:
    lab = Lab(kept.url)
    node = lab.party(Role.PROVIDER)
    old = lab.chain.head()
    lab.dataset(node)
    head = lab.chain.head()
    slot = [slots.name(slots.key(node.id, 0)[0])]
    registry = lab.chain.addresses["PartyRegistry"]
    proof = lab.chain.storage_proof(registry, slot, block=old)
    kept.stop()
    kept.start()
    assert lab.chain.head() == head
    assert lab.chain.block(old.number) == old
    assert lab.chain.party(node.id, block=old) is not None
    assert lab.chain.storage_proof(registry, slot, block=old) == proof
    assert len(lab.chain.events(0, head.number)) > 3
    lab.party(Role.CONSUMER)  # and it goes on without fees
    assert lab.chain.head().number == head.number + 1


def test_after_a_kill_it_comes_back_at_some_earlier_block_that_we_can_tell(kept: Anvil) -> None:
    lab = Lab(kept.url)
    node = lab.party(Role.PROVIDER)
    safe = lab.chain.head()
    time.sleep(2.5)  # the state is written every second
    raw = lab.raw(lab.chain.suspend_call(node.id))
    lab.mined(lab.chain.send_raw(raw))
    lost = lab.chain.head()
    kept.kill()
    kept.start()
    assert lab.chain.block(safe.number) == safe
    head = lab.chain.head()
    assert head in (safe, lost)
    if head == safe:  # what was lost is read as gone, and the saved transaction fits again
        with pytest.raises(BlockUnknown):
            lab.chain.party(node.id, block=lost)
        lab.mined(lab.chain.send_raw(raw))
    party = lab.chain.party(node.id)
    assert party is not None
    assert party.suspended


def test_a_reorganisation_is_seen_by_hash(fresh_lab: Lab) -> None:
    lab = fresh_lab
    node = lab.party(Role.PROVIDER)
    before = lab.chain.head()
    raw = lab.raw(lab.chain.suspend_call(node.id))
    lab.mined(lab.chain.send_raw(raw))
    dropped = lab.chain.head()
    assert [e.name for e in lab.chain.events(dropped.number, dropped.number)] == ["SuspensionLaid"]

    lab.chain.rpc.call("anvil_reorg", 1, [])
    replaced = lab.chain.block(dropped.number)
    assert replaced.hash != dropped.hash
    assert replaced.parent == before.hash
    assert lab.chain.events(dropped.number, dropped.number) == []
    with pytest.raises(BlockUnknown):
        lab.chain.party(node.id, block=dropped)
    again = lab.chain.party(node.id)
    assert again is not None
    assert not again.suspended
    lab.mined(lab.chain.send_raw(raw))  # the saved bytes are still good
    suspended = lab.chain.party(node.id)
    assert suspended is not None
    assert suspended.suspended
