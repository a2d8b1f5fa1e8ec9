"""Keys, suspensions, freezes and the address book, through the binding as portal and nodes use it."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor

from contracts.bindings import Chain
from contracts.eip712 import Action, DatasetVersion, Grant, Line, Role
from contracts.transactions import address_of_key
from tests.chain_lab import TIMELOCK_S, Lab, Party


def test_an_unknown_party_is_none(lab: Lab) -> None:
    assert lab.chain.party(secrets.token_bytes(32)) is None
    assert lab.chain.party_of(address_of_key(secrets.token_bytes(32))) is None


def test_a_rotated_key_ends_the_old_one_and_both_stay_in_the_history(lab: Lab) -> None:
    party = lab.party(Role.PROVIDER)
    fresh = Party(id=party.id, key_index=1)
    following = fresh.node_key()
    by_old = lab.sign("PartyRegistry", following, party)
    by_new = lab.sign("PartyRegistry", following, fresh)
    refused = lab.refused(lab.chain.rotate_call(following, by_new, by_new))
    assert refused.name == "NotPartyKey"
    assert refused.arguments == {"party": party.id, "signer": fresh.address}

    lab.send(lab.chain.rotate_call(following, by_old, by_new), key=secrets.token_bytes(32))
    record = lab.chain.party(party.id)
    assert record is not None
    assert [key.address for key in record.keys] == [party.address, fresh.address]
    assert record.address == fresh.address
    assert record.box_key == fresh.box_key
    assert record.keys[0].valid_until == record.keys[1].valid_from
    assert lab.chain.party_of(party.address) == party.id


def test_the_operator_cannot_enrol_a_key_it_does_not_hold(lab: Lab) -> None:
    party = Party()
    by_another = lab.sign("PartyRegistry", party.node_key(), Party())
    call = lab.chain.enrol_call(party.id, Role.PROVIDER, party.node_key(), by_another)
    assert lab.refused(call).name == "KeyUnproven"


def test_roles_are_added_by_the_operator_only(lab: Lab) -> None:
    party = lab.party(Role.PROVIDER)
    call = lab.chain.add_roles_call(party.id, Role.CONSUMER)
    assert lab.refused(call, secrets.token_bytes(32)).name == "OwnableUnauthorizedAccount"
    lab.send(call)
    record = lab.chain.party(party.id)
    assert record is not None
    assert record.roles == Role.PROVIDER | Role.CONSUMER


def test_a_regulator_suspends_and_only_it_lifts(lab: Lab) -> None:
    party, regulator = lab.party(Role.PROVIDER), lab.party(Role.REGULATOR)
    nonce = lab.chain.action_nonce("PartyRegistry", regulator.id)
    suspend = Action(regulator.id, party.id, 3, nonce)
    lab.send(lab.chain.act_call(suspend, lab.sign("PartyRegistry", suspend, regulator)))
    record = lab.chain.party(party.id)
    assert record is not None
    assert record.suspended
    assert lab.refused(lab.chain.reinstate_call(party.id)).name == "SuspensionUnchanged"
    assert lab.refused(lab.chain.suspend_call(regulator.id)).name == "RegulatorNotSuspendable"

    version = DatasetVersion(secrets.token_bytes(32), party.id, 1, 1, bytes(31) + b"\1", bytes(32))
    call = lab.chain.register_call(version, lab.sign("DatasetRegistry", version, party))
    assert lab.refused(call).arguments == {"party": party.id}

    replay = lab.chain.act_call(suspend, lab.sign("PartyRegistry", suspend, regulator))
    assert lab.refused(replay).arguments == {"party": regulator.id, "expected": nonce + 1, "given": nonce}
    reinstate = Action(regulator.id, party.id, 4, nonce + 1)
    lab.send(lab.chain.act_call(reinstate, lab.sign("PartyRegistry", reinstate, regulator)))
    lab.send(call)


def test_a_freeze_stops_reservations_until_its_own_author_lifts_it(lab: Lab) -> None:
    provider, consumer, regulator = (
        lab.party(Role.PROVIDER),
        lab.party(Role.CONSUMER),
        lab.party(Role.REGULATOR),
    )
    dataset = lab.dataset(provider)
    grant = lab.activate(lab.grant_of(provider, consumer, dataset), provider)

    def act(party: Party, verb: int) -> None:
        action = Action(party.id, dataset, verb, lab.chain.action_nonce("DatasetRegistry", party.id))
        lab.send(lab.chain.freeze_call(action, lab.sign("DatasetRegistry", action, party)))

    act(provider, 1)
    act(regulator, 1)
    act(provider, 2)
    record = lab.chain.dataset(dataset)
    assert record is not None
    assert record.frozen
    request = lab.request(consumer, Line(grant, 1, 0))
    call = lab.chain.reserve_call(request, lab.sign("UsageLedger", request, consumer))
    assert lab.refused(call).name == "DatasetFrozen"
    act(regulator, 2)
    lab.send(call)


def test_a_grant_signed_for_another_chain_or_contract_is_worthless(lab: Lab) -> None:
    provider, consumer = lab.party(Role.PROVIDER), lab.party(Role.CONSUMER)
    grant: Grant = lab.grant_of(provider, consumer, lab.dataset(provider))
    elsewhere = lab.chain.activate_call(grant, lab.sign("DatasetRegistry", grant, provider))
    assert lab.refused(elsewhere).name == "NotPartyKey"
    by_operator = lab.chain.activate_call(grant, lab.sign("UsageLedger", grant, Party(key=lab.operator_key)))
    assert lab.refused(by_operator).name == "NotPartyKey"


def test_a_dataset_keeps_its_versions(lab: Lab) -> None:
    provider = lab.party(Role.PROVIDER)
    dataset = lab.dataset(provider, commitment=bytes(31) + b"\1")
    second = DatasetVersion(dataset, provider.id, 2, 1, bytes(31) + b"\2", bytes(31) + b"\3")
    lab.send(lab.chain.register_call(second, lab.sign("DatasetRegistry", second, provider)))
    record = lab.chain.dataset(dataset)
    assert record is not None
    assert [v.commitment[-1] for v in record.versions] == [1, 2]
    assert (record.latest, record.commitment, record.schema_hash) == (
        2,
        second.commitment,
        second.schema_hash,
    )


def test_a_replacement_waits_and_old_events_still_decode(fresh_lab: Lab) -> None:
    lab = fresh_lab
    party = lab.party(Role.CONSUMER)
    old = lab.chain.addresses["PartyRegistry"]
    name = b"PartyRegistry".ljust(32, b"\0")
    lab.send(lab.chain.calldata("AddressBook", "propose", name, lab.chain.addresses["UsageLedger"]))
    accept = lab.chain.calldata("AddressBook", "accept", name)
    assert lab.refused(accept).name == "TimelockRunning"
    lab.advance(TIMELOCK_S)
    lab.send(accept)
    later = Chain(lab.url, lab.address_book)
    assert later.addresses["PartyRegistry"] != old
    assert lab.chain.addresses["PartyRegistry"] == old  # a running process keeps what it started with
    names = [e.name for e in later.events(0, later.head().number) if e.args.get("party") == party.id]
    assert names == ["KeyChanged", "PartyEnrolled"]
    later.close()


def test_one_binding_serves_many_threads(lab: Lab) -> None:
    parties = [lab.party(Role.CONSUMER) for _ in range(4)]

    def read(number: int) -> bool:
        party = parties[number % 4]
        record = lab.chain.party(party.id)
        return record is not None and record.address == party.address

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(80)))
