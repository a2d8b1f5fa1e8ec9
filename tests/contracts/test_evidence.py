"""An evidence bundle verifies off line, and breaking any one of its links is refused by that link's name."""

from __future__ import annotations

import copy
import hashlib
import json
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import hypothesis
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compute.wire import canonical
from compute.wire.messages import ReceiptDetail
from contracts import eip712, evidence
from contracts.eip712 import JobRequest, Line, NodeKey, Outcome, Receipt, Role
from contracts.errors import BadEvidence
from contracts.records import ReservationState
from tests.chain_lab import Lab, Party

Bundle = dict[str, Any]

DETAIL = ReceiptDetail(
    kind="psi", role="left", purpose='罕见病 "study"\n\x01', metrics={"elements": 12, "bytes_out": 400}
)


@dataclass
class Case:
    lab: Lab
    node: Party
    consumer: Party
    request: JobRequest
    receipts: list[Receipt]
    collect: Callable[..., Bundle]


@pytest.fixture(scope="module")
def case(lab: Lab) -> Case:
    """Three receipts of one node in one batch; the second settles a reserved job."""
    node, consumer = lab.party(Role.PROVIDER), lab.party(Role.CONSUMER)
    grant = lab.activate(lab.grant_of(node, consumer, lab.dataset(node)), node)
    request = lab.request(consumer, Line(grant, 9, 0))
    job = lab.reserve(request, consumer)
    refused = {"outcome": int(Outcome.REFUSED), "settles": False}
    first = lab.receipt(node, bytes(31) + b"\1", grant, bytes(32), **refused)
    second = lab.receipt(
        node,
        job,
        grant,
        request.spec_hash,
        units=7,
        after=first,
        detail=canonical.digest(DETAIL),
    )
    third = lab.receipt(node, bytes(31) + b"\2", bytes(31) + b"\3", bytes(32), after=second, **refused)
    receipts = [first, second, third]
    lab.commit(receipts, node)

    def collect(index: int = 1, **changes: Any) -> Bundle:
        arguments: dict[str, Any] = {
            "receipt": receipts[index],
            "signature": lab.sign("UsageLedger", receipts[index], node),
            "detail": json.loads(canonical.encode(DETAIL)),
            "batch_digests": [eip712.struct_hash(r) for r in receipts],
            "batch_first_sequence": 1,
            "batch_signature": lab.sign("UsageLedger", lab.batch_of(receipts), node),
            "order": (request, lab.sign("UsageLedger", request, consumer)),
        }
        return evidence.collect(lab.chain, **{**arguments, **changes})

    return Case(lab, node, consumer, request, receipts, collect)


@pytest.fixture(scope="module")
def bundle(case: Case) -> Bundle:
    return case.collect()


def test_a_bundle_verifies_without_network(
    case: Case, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_back = json.loads(json.dumps(bundle))
    monkeypatch.setattr(socket, "socket", lambda *a, **k: pytest.fail("verification opened a socket"))
    report = evidence.verify(read_back)
    assert report.receipt == case.receipts[1]
    assert report.outcome is Outcome.COMPLETED
    assert report.reservation is ReservationState.SETTLED
    assert report.reserved_units == 9
    assert report.consumer == case.consumer.id
    assert report.ordered
    assert not report.block_trusted
    assert not report.book_trusted
    assert report.links == (
        "detail",
        "path",
        "header",
        "book",
        "ledger",
        "signature",
        "batch",
        "grant",
        "reservation",
        "order",
    )


def test_it_holds_against_the_block_and_book_that_a_regulator_trusts(case: Case, bundle: Bundle) -> None:
    block = case.lab.chain.block(int(bundle["header"]["number"], 16))
    report = evidence.verify(
        bundle, trusted_block_hash=block.hash, trusted_address_book=case.lab.address_book.lower()
    )
    assert report.block_trusted
    assert report.book_trusted
    with pytest.raises(BadEvidence, match=r"^header: it is not the trusted"):
        evidence.verify(bundle, trusted_block_hash=block.parent)
    with pytest.raises(BadEvidence, match=r"^book: .* trusted"):
        evidence.verify(bundle, trusted_address_book="0x" + "11" * 20)


def test_a_refusal_without_grant_or_reservation_has_evidence_too(case: Case) -> None:
    detail: dict[str, Any] = {"kind": "psi"}
    digest = hashlib.sha256(b'{"kind":"psi"}').digest()
    lab, node = case.lab, case.node
    refusal = lab.receipt(
        node, bytes(32), bytes(32), bytes(32), outcome=int(Outcome.REFUSED), settles=False, detail=digest
    )
    lab.commit([refusal], node)
    bundle = evidence.collect(
        lab.chain,
        receipt=refusal,
        signature=lab.sign("UsageLedger", refusal, node),
        detail=detail,
        batch_digests=[eip712.struct_hash(refusal)],
        batch_first_sequence=refusal.sequence,
        batch_signature=lab.sign("UsageLedger", lab.batch_of([refusal]), node),
    )
    report = evidence.verify(bundle)
    assert not report.granted
    assert report.reservation is None
    assert not report.ordered
    assert report.outcome is Outcome.REFUSED


def test_evidence_of_a_rotated_key_still_holds(case: Case) -> None:
    lab, node = case.lab, case.node
    old_signature = lab.sign("UsageLedger", case.receipts[1], node)
    old_batch = lab.sign("UsageLedger", lab.batch_of(case.receipts), node)
    fresh = Party(id=node.id, key_index=node.key_index + 1)
    following: NodeKey = fresh.node_key()
    lab.send(
        lab.chain.rotate_call(
            following,
            lab.sign("PartyRegistry", following, node),
            lab.sign("PartyRegistry", following, fresh),
        )
    )
    try:
        report = evidence.verify(case.collect(signature=old_signature, batch_signature=old_batch))
        assert report.receipt == case.receipts[1]
    finally:
        node.key, node.key_index = fresh.key, fresh.key_index


def _set(*path: Any, to: Any) -> Callable[[Bundle], None]:
    def change(bundle: Bundle) -> None:
        target: Any = bundle
        for step in path[:-1]:
            target = target[step]
        target[path[-1]] = to(target[path[-1]]) if callable(to) else to

    return change


def _flip(text: str) -> str:
    """Another last digit."""
    return text[:-1] + ("0" if text[-1] != "0" else "1")


def _flip_in_list(index: int) -> Callable[[Any], Any]:
    return lambda items: [_flip(item) if i == index % len(items) else item for i, item in enumerate(items)]


def _flip_first_slot(slots: dict[str, list[str]]) -> dict[str, list[str]]:
    name = next(iter(slots))
    return {**slots, name: _flip_in_list(-1)(slots[name])}


TAMPERED: dict[str, tuple[Callable[[Bundle], None], str]] = {
    "format": (_set("format", to="liutong.evidence/2"), "bundle"),
    "unknown field": (lambda b: b.update(more=1), "bundle"),
    "detail": (_set("detail", "metrics", "elements", to=13), "detail"),
    "detail with a float": (_set("detail", "metrics", "elements", to=12.0), "detail"),
    "units": (_set("receipt", "units", to=1), "path"),
    "outcome": (_set("receipt", "outcome", to=9), "receipt"),
    "sequence": (_set("receipt", "sequence", to=3), "path"),
    "node": (_set("receipt", "node", to=_flip), "path"),
    "units beyond their type": (_set("receipt", "units", to=1 << 64), "receipt"),
    "units as text": (_set("receipt", "units", to="7"), "receipt"),
    "receipt without a field": (lambda b: b["receipt"].pop("detail"), "receipt"),
    "path sibling": (_set("path", "siblings", to=_flip_in_list(0)), "path"),
    "path too short": (_set("path", "siblings", to=lambda s: s[:-1]), "path"),
    "path too long": (_set("path", "siblings", to=lambda s: [*s, s[0]]), "path"),
    "path index": (_set("path", "index", to=0), "path"),
    "path size": (_set("path", "size", to=4), "path"),
    "batch root": (_set("batch", "root", to=_flip), "path"),
    "header field": (_set("header", "stateRoot", to=_flip), "header"),
    "header without a field": (lambda b: b["header"].pop("receiptsRoot"), "header"),
    "header of another block": (_set("block_hash", to=_flip), "header"),
    "ledger account node": (_set("ledger", "account", to=_flip_in_list(-1)), "ledger"),
    "ledger storage node": (_set("ledger", "slots", to=_flip_first_slot), "ledger"),
    "ledger storage left out": (_set("ledger", "slots", to={}), "ledger"),
    "ledger storage said absent": (
        _set("ledger", "slots", to=lambda s: {k: [] for k in s}),
        "ledger",
    ),
    "registry account node": (_set("registry", "account", to=_flip_in_list(0)), "registry"),
    "registry storage node": (_set("registry", "slots", to=_flip_first_slot), "registry"),
    "book storage node": (_set("book", "slots", to=_flip_first_slot), "book"),
    "another ledger": (_set("where", "usage_ledger", to=lambda a: _flip(a.lower())), "ledger"),
    "the registry as ledger": (
        lambda b: b["where"].update(usage_ledger=b["where"]["party_registry"]),
        "ledger",
    ),
    "receipt signature": (_set("signature", to=lambda s: s[:10] + _flip(s[10:11]) + s[11:]), "signature"),
    "batch signature": (_set("batch_signature", to=lambda s: s[:-2] + "1d"), "batch"),
    "the batch's signature for the receipt's": (
        lambda b: b.update(signature=b["batch_signature"]),
        "signature",
    ),
    "key index": (_set("key_index", to=1), "registry"),
    "grant": (_set("grant", "quota", to=10**6), "grant"),
    "grant left out": (_set("grant", to=None), "grant"),
    "order": (_set("order", "request", "deadline", to=lambda d: d + 1), "order"),
    "order line": (_set("order", "request", "lines", 0, "units", to=90), "order"),
    "order signature": (_set("order", "signature", to=lambda s: s[:10] + _flip(s[10:11]) + s[11:]), "order"),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_a_broken_link_is_named(bundle: Bundle, name: str) -> None:
    change, link = TAMPERED[name]
    broken = copy.deepcopy(bundle)
    change(broken)
    assert json.dumps(broken) != json.dumps(bundle)
    with pytest.raises(BadEvidence) as caught:
        evidence.verify(broken)
    assert caught.value.link == link


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict):
        return [leaf for key, item in value.items() for leaf in _leaves(item, (*path, key))]
    if isinstance(value, list):
        return [leaf for index, item in enumerate(value) for leaf in _leaves(item, (*path, index))]
    return [path]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_single_change_anywhere_goes_unnoticed(bundle: Bundle, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(_leaves(bundle)))
    broken = copy.deepcopy(bundle)
    target: Any = broken
    for step in path[:-1]:
        target = target[step]
    old = target[path[-1]]
    others = st.none() | st.booleans() | st.integers(-(1 << 70), 1 << 70) | st.text(max_size=4)
    if isinstance(old, str) and len(old) > 2:
        place = data.draw(st.integers(0, len(old) - 1))
        digit = data.draw(st.sampled_from("0123456789abcdef"))
        others = others | st.just(old[:place] + digit + old[place + 1 :])
    new = data.draw(others)
    hypothesis.assume(str(new).lower() != str(old).lower())
    target[path[-1]] = new
    with pytest.raises(BadEvidence):
        evidence.verify(broken)


@pytest.mark.parametrize("garbage", [{}, [], None, 7, "bundle", {"format": "liutong.evidence/1"}])
def test_what_is_no_bundle_is_refused(garbage: Any) -> None:
    with pytest.raises(BadEvidence, match=r"^bundle"):
        evidence.verify(garbage)


def test_a_receipt_that_is_not_anchored_has_no_evidence(case: Case) -> None:
    lab, node = case.lab, case.node
    alone = lab.receipt(node, bytes(32), bytes(32), bytes(32), settles=False)
    with pytest.raises(BadEvidence, match="ledger"):
        case.collect(
            receipt=replace(alone, detail=canonical.digest(DETAIL)),
            signature=lab.sign("UsageLedger", replace(alone, detail=canonical.digest(DETAIL)), node),
            batch_digests=[eip712.struct_hash(replace(alone, detail=canonical.digest(DETAIL)))],
            batch_first_sequence=alone.sequence,
            batch_signature=lab.sign(
                "UsageLedger", lab.batch_of([replace(alone, detail=canonical.digest(DETAIL))]), node
            ),
            order=None,
        )


def test_a_receipt_signed_by_a_stranger_has_no_evidence(case: Case) -> None:
    signature = case.lab.sign("UsageLedger", case.receipts[1], Party())
    with pytest.raises(BadEvidence, match=r"^signature"):
        case.collect(signature=signature)


def test_a_receipt_dated_before_its_key_is_refused(case: Case) -> None:
    lab, node = case.lab, case.node
    early = lab.receipt(
        node,
        bytes(32),
        bytes(32),
        bytes(32),
        settles=False,
        issued_at=1_000_000,
        detail=canonical.digest(DETAIL),
    )
    lab.commit([early], node)
    with pytest.raises(BadEvidence, match="dated outside"):
        case.collect(
            receipt=early,
            signature=lab.sign("UsageLedger", early, node),
            batch_digests=[eip712.struct_hash(early)],
            batch_first_sequence=early.sequence,
            batch_signature=lab.sign("UsageLedger", lab.batch_of([early]), node),
            order=None,
        )
