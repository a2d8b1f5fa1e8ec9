"""Nodes against portal: every receipt a node has signed, and no other."""

from __future__ import annotations

from compute.client import BadNodeAnswer, NodeClient, NodeRefused, NodeUnreachable
from compute.wire.messages import SignedReceipt
from market.audit.report import Report
from market.errors import MarketError
from market.ledger import receipts
from market.ledger.models import Receipt
from market.ledger.nodes import node_client
from market.parties.models import Party

_PER_CALL = 200


def compare(report: Report) -> None:
    """Ask every provider's node for its receipt log and compare it, receipt by receipt."""
    for party in Party.objects.exclude(node_url="").exclude(state=Party.State.PROPOSED):
        try:
            with node_client(party) as client:
                _node(party, client, report)
        except (NodeUnreachable, NodeRefused, BadNodeAnswer, MarketError) as error:
            report.unreachable.append(party.party_id)
            report.add("node.unreachable", party.party_id, message=str(error)[:300])


def _node(party: Party, client: NodeClient, report: Report) -> None:
    rows = {row.digest: row for row in Receipt.objects.filter(node=party.party_id)}
    after, previous = 0, "0x" + "00" * 32
    while True:
        page = client.receipts(after, _PER_CALL)
        if not page:
            break
        for receipt in page:
            if receipt.sequence != after + 1 or receipt.previous != previous:
                report.add(
                    "node.chain_broken",
                    receipt.digest,
                    node=receipt.sequence,
                    message=f"it does not follow receipt {after}",
                )
            after, previous = receipt.sequence, receipt.digest
            _receipt(party, receipt, rows.pop(receipt.digest, None), report)
    for digest, row in rows.items():
        report.add(
            "receipt.unknown_to_node",
            digest,
            portal=row.sequence,
            message="the node never issued this receipt",
        )


def _receipt(party: Party, receipt: SignedReceipt, row: Receipt | None, report: Report) -> None:
    try:
        receipts.check(receipt, party)
    except MarketError as error:
        report.add("node.receipt_invalid", receipt.digest, message=error.message)
        return
    if row is None:
        report.add("receipt.missing", receipt.digest, node=receipt.sequence, message="the node issued it")
        return
    told = {
        "sequence": (receipt.sequence, row.sequence),
        "units": (receipt.units, row.units),
        "outcome": (receipt.outcome, row.outcome),
        "settles": (receipt.settles, row.settles),
        "job": (receipt.job, row.job_id),
        "grant": (receipt.grant, row.grant_id),
    }
    for name, (at_node, in_portal) in told.items():
        if at_node != in_portal:
            report.add("receipt.differs", receipt.digest, field=name, node=at_node, portal=in_portal)
