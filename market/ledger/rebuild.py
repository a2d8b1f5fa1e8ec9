"""Making the portal's tables anew from the chain and the nodes."""

from __future__ import annotations

import logging

from django.db import transaction

from compute.errors import BadInput
from compute.wire import structs
from compute.wire.canonical import to_hex
from contracts import eip712
from contracts.bindings import Chain
from market.audit import services as audit
from market.errors import MarketError
from market.jobs import drive, progress
from market.jobs.models import Job
from market.ledger.index import Index, replay
from market.ledger.models import Batch, Block, ChainEvent, ChainTransaction, Receipt
from market.ledger.receipts import batch_signed, document
from market.parties.actor import Actor

log = logging.getLogger(__name__)
_REBUILD = Actor.system("rebuild_index")


def rebuild(chain: Chain, *, finality_depth: int = 0, nodes: bool = True) -> dict[str, int]:
    """Forget every projection, read the chain from its first block, ask the nodes for their receipts.

    Rows that only the portal knows (names, offers, documents) stay; what the chain contradicts is overruled;
    what is missing is made with what the chain knows. Returns counts. Raises ChainUnreachable: the tables
    are then empty of projections and the next run, or the index worker, fills them.
    """
    with transaction.atomic():
        audit.append("index.rebuilt", actor=_REBUILD)
        ChainEvent.objects.all().delete()
        Block.objects.all().delete()
        dropped = _drop_false_receipts()
        # A state that a tampered row claims must not survive: it is derived again below.
        reserved = ChainTransaction.objects.filter(purpose="reserve").values("subject")
        Job.objects.filter(job_id__in=reserved).update(state=Job.State.SUBMITTED, reason=None)
        replay()
    Index(chain, finality_depth).catch_up()
    _blank_false_signatures()
    asked = 0
    if nodes:
        for party in drive.parties_with_nodes():
            asked += 1
            drive.visit(party)
    for job_id in Job.objects.values_list("job_id", flat=True):
        progress.derive(job_id)
    return {
        "blocks": Block.objects.count(),
        "events": ChainEvent.objects.count(),
        "receipts": Receipt.objects.count(),
        "receipts_dropped": dropped,
        "nodes_asked": asked,
    }


def _drop_false_receipts() -> int:
    """Delete receipts whose fields are not the ones that were signed; the chain and the nodes have them."""
    false = []
    for receipt in Receipt.objects.all():
        try:
            true = to_hex(eip712.struct_hash(structs.receipt(document(receipt)))) == receipt.digest
        except (BadInput, MarketError, KeyError):
            true = False
        if not true:
            false.append(receipt.digest)
    Receipt.objects.filter(digest__in=false).delete()
    if false:
        log.warning("%d receipts did not fit their digests and were dropped", len(false))
    return len(false)


def _blank_false_signatures() -> None:
    """Forget batch signatures that do not fit what is anchored; the next visit asks the nodes for them."""
    for batch in Batch.objects.filter(state=Batch.State.ANCHORED).exclude(signature=""):
        if not batch_signed(batch):
            Batch.objects.filter(pk=batch.pk).update(signature="")
