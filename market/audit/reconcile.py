"""Do chain, portal and nodes tell the same story? Every disagreement is one typed `Difference`.

The chain is asked afresh: its events from the first block on, its contracts' state at the block the index
has reached. Nothing in the portal's tables is taken for granted, not even its copy of the events. The
regulator or the operator runs this; it writes nothing but its own report.
"""

from __future__ import annotations

import time

from django.db import transaction

from contracts.bindings import Chain
from contracts.errors import BlockUnknown, ChainUnreachable
from contracts.records import BlockRef
from market.audit import compare_chain, compare_nodes, compare_portal
from market.audit import services as audit
from market.audit.models import Reconciliation
from market.audit.report import Report
from market.errors import ChainUnavailable
from market.ledger.chain import chain as connected_chain
from market.ledger.index import cursor
from market.parties.actor import Actor


def compare(*, nodes: bool = True, chain: Chain | None = None) -> Report:
    """Compare everything; raises ChainUnavailable, since nothing can be said without the chain.

    A node that does not answer is a difference too: what could not be checked is not clean.
    """
    report = Report()
    try:
        contracts = chain or connected_chain()
        at = _meeting_block(contracts, report)
        compare_chain.compare(contracts, at, report)
    except (ChainUnreachable, BlockUnknown) as error:
        raise ChainUnavailable(str(error)) from error
    compare_portal.compare(report)
    if nodes:
        compare_nodes.compare(report)
    return report


def compare_settled(*, nodes: bool = True, chain: Chain | None = None, pause_s: float = 1.0) -> Report:
    """`compare`, told apart from work in progress: what a second look does not see is no difference.

    Workers move rows while the comparison reads them; a real disagreement stays.
    """
    report = compare(nodes=nodes, chain=chain)
    for _ in range(2):
        if report.clean:
            break
        time.sleep(pause_s)
        again = compare(nodes=nodes, chain=chain)
        seen = {(d.code, d.subject, d.field) for d in report.differences}
        again.differences = [d for d in again.differences if (d.code, d.subject, d.field) in seen]
        report = again
    return report


@transaction.atomic
def record(report: Report, *, actor: Actor) -> Reconciliation:
    """Keep a report, and the fact that it was made."""
    row = Reconciliation.objects.create(
        block_number=report.block_number,
        agreed=report.clean,
        differences=report.plain()["differences"],
        unreachable=report.unreachable,
    )
    audit.append(
        "reconciled",
        actor=actor,
        subject=str(row.pk),
        clean=report.clean,
        differences=len(report.differences),
    )
    return row


def _meeting_block(contracts: Chain, report: Report) -> BlockRef | None:
    """The block up to which the portal has read, as the chain has it."""
    at = cursor()
    report.block_number = at.number if at.number >= 0 else None
    if at.number < 0:
        return None
    try:
        block = contracts.block(at.number)
    except BlockUnknown:
        block = None
    if block is None or "0x" + block.hash.hex() != at.hash:
        report.add(
            "index.block",
            str(at.number),
            field="hash",
            chain="0x" + block.hash.hex() if block else None,
            portal=at.hash,
            message="the chain does not have the block the index stands on; the index worker will unwind",
        )
    return block
