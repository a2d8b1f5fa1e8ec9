"""Chain to tables: reads events block by block and keeps the projections equal to them.

The cursor is the last `Block` row, known by number *and* hash. If the chain no longer has that block (a
reorganisation, or an embedded chain that came back some blocks short) the index unwinds to the last row that
it still has and replays.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from django.db import IntegrityError, transaction

from contracts.bindings import Chain
from contracts.errors import BlockUnknown
from contracts.records import BlockRef
from contracts.records import ChainEvent as DecodedEvent
from market.billing import services as billing
from market.jobs import progress
from market.ledger.models import Block, ChainEvent
from market.ledger.projection import Projector, plain, reset

log = logging.getLogger(__name__)
# One eth_getLogs answer stays small even on a busy chain.
_SPAN_BLOCKS = 500


@dataclass(frozen=True)
class Cursor:
    """How far the index is; number -1 before the first block."""

    number: int
    hash: str


def cursor() -> Cursor:
    """The last block that was read."""
    last = Block.objects.order_by("-number").first()
    return Cursor(last.number, last.hash) if last else Cursor(-1, "")


class Index:
    """Reads a chain into the portal's tables. One process runs it; a second one is harmless but useless."""

    def __init__(self, chain: Chain, finality_depth: int = 0) -> None:
        self._chain = chain
        self._depth = finality_depth

    def step(self) -> bool:
        """Read the next span of blocks, or unwind; True if there was something to do.

        Raises ChainUnreachable. Events, cursor and projections change in one transaction.
        """
        final = self._chain.at_depth(self._depth)
        at = cursor()
        if at.number >= 0 and not self._still_there(at, final):
            self.unwind()
            return True
        first = at.number + 1
        if first > final.number:
            return False
        last = min(final.number, first + _SPAN_BLOCKS - 1)
        events = self._chain.events(first, last)
        numbers = {event.block_number for event in events} | {last}
        try:
            blocks = {number: self._chain.block(number) for number in numbers}
        except BlockUnknown:
            return True  # the chain moved while we read: look again
        if any(event.block_hash != blocks[event.block_number].hash for event in events):
            return True
        try:
            self._keep(at, events, blocks)
        except IntegrityError as error:
            # Another index (a rebuild, say) wrote the same blocks in the meantime: look again.
            log.warning("blocks %d to %d were written by another process: %s", first, last, error)
        return True

    def catch_up(self) -> None:
        """Step until there is nothing to do."""
        while self.step():
            pass

    def unwind(self) -> None:
        """Forget what the chain no longer has and replay the rest."""
        keep = -1
        for row in Block.objects.order_by("-number").iterator():
            if self._has(row.number, row.hash):
                keep = row.number
                break
        with transaction.atomic():
            gone = ChainEvent.objects.filter(block_number__gt=keep).count()
            ChainEvent.objects.filter(block_number__gt=keep).delete()
            Block.objects.filter(number__gt=keep).delete()
            log.warning("the chain went back: unwound to block %d, %d events forgotten", keep, gone)
            replay()

    def _still_there(self, at: Cursor, final: BlockRef) -> bool:
        if at.number > final.number:
            # With a finality depth the cursor may be ahead only if the chain went back.
            return False
        return self._has(at.number, at.hash)

    def _has(self, number: int, block_hash: str) -> bool:
        try:
            return "0x" + self._chain.block(number).hash.hex() == block_hash
        except BlockUnknown:
            return False

    def _keep(self, at: Cursor, events: list[DecodedEvent], blocks: dict[int, BlockRef]) -> None:
        with transaction.atomic():
            Block.objects.select_for_update().order_by("-number").first()
            if cursor() != at:
                return  # another index got there first
            for number in sorted(blocks):
                Block.objects.create(
                    number=number,
                    hash="0x" + blocks[number].hash.hex(),
                    timestamp=blocks[number].timestamp,
                )
            projector = Projector({number: block.timestamp for number, block in blocks.items()})
            rows = [
                ChainEvent(
                    block_number=event.block_number,
                    block_hash="0x" + event.block_hash.hex(),
                    log_index=event.log_index,
                    tx_hash="0x" + event.tx_hash.hex(),
                    contract=event.contract,
                    name=event.name,
                    args=plain(event.args),
                )
                for event in events
            ]
            ChainEvent.objects.bulk_create(rows)
            for row in rows:
                projector.apply(row)
            if rows:
                billing.derive()
            for job_id in projector.jobs:
                progress.derive(job_id)


def replay() -> None:
    """Make every projection anew from the stored events, in the caller's transaction."""
    reset()
    projector = Projector(dict(Block.objects.values_list("number", "timestamp")))
    for row in ChainEvent.objects.order_by("block_number", "log_index").iterator(chunk_size=1000):
        projector.apply(row)
    billing.derive_anew()
    for job_id in projector.jobs:
        progress.derive(job_id)
