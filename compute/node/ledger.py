"""This node's reading of the chain: at the configured depth, never writing, remembering what signing needs.

Domains are kept in the store, so that a node that restarts while the chain is away can still sign the
receipts of the jobs it lost. On first contact the chain is compared with the store: a database that belongs
to another chain, or whose receipts the chain knows more of than we do (a restored backup), must not sign
again, for that would fork the receipt chain.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from compute.errors import ComputeError
from compute.node.config import NodeConfig
from compute.node.database import StoreDamaged
from compute.node.policy import ChainView, part_of
from compute.node.store import Store
from compute.wire.canonical import from_hex, to_hex
from compute.wire.messages import JobSubmission
from contracts.bindings import NAMES, Chain
from contracts.eip712 import Domain
from contracts.errors import ChainUnreachable
from contracts.records import BlockRef, DatasetRecord, GrantRecord, PartyRecord

Connect = Callable[[str, str, float], Chain]


class NotFinal(ComputeError):
    """The chain holds what is needed, but not yet deep enough: ask again when blocks lie on top."""

    code = "chain.not_final"


def connect_chain(rpc_url: str, address_book: str, timeout_s: float) -> Chain:
    """The production `Connect`."""
    return Chain(rpc_url, address_book, timeout_s=timeout_s)


class Ledger:
    """Chain reads for one node. Blocking and thread-safe: call from worker threads."""

    def __init__(self, config: NodeConfig, store: Store, connect: Connect = connect_chain) -> None:
        self._config = config
        self._store = store
        self._connect = connect
        self._party = from_hex(config.party)
        self._chain: Chain | None = None
        self._lock = threading.Lock()

    def chain(self) -> Chain:
        """The chain, checked against our store; raises ChainUnreachable or StoreDamaged."""
        if self._chain is None:
            with self._lock:
                if self._chain is None:
                    self._chain = self._first_contact()
        return self._chain

    def block(self) -> BlockRef:
        """The newest block that lies deep enough to be believed."""
        return self.chain().at_depth(self._config.chain.finality_depth)

    def domain(self, contract: str) -> Domain:
        """The EIP-712 domain of a contract, from the store if the chain is away; raises ChainUnreachable."""
        remembered = self._store.meta(f"domain/{contract}")
        if remembered is None:
            self.chain()
            remembered = self._store.meta(f"domain/{contract}")
        if remembered is None:
            raise ChainUnreachable("this node has never seen the chain, so it cannot sign for it")
        chain_id, address = remembered.split(" ")
        return Domain(int(chain_id), address)

    def known_chain_id(self) -> int:
        """The chain id as last seen; 0 before the first contact."""
        remembered = self._store.meta("domain/UsageLedger")
        return int(remembered.split(" ")[0]) if remembered else 0

    def addresses(self, party: str) -> frozenset[str]:
        """The addresses that may act for a party now: a `compute.wire.identity.KeyDirectory`."""
        record = self.party(party)
        return frozenset() if record is None or record.suspended else frozenset({record.address})

    def party(self, party: str) -> PartyRecord | None:
        """A party at the believed block."""
        return self.chain().party(from_hex(party), block=self.block())

    def dataset(self, dataset: str) -> DatasetRecord | None:
        """A dataset at the believed block."""
        return self.chain().dataset(from_hex(dataset), block=self.block())

    def action_nonce(self) -> int:
        """The nonce of our next action on a dataset; from the head, for it is a nonce and no fact."""
        return self.chain().action_nonce("DatasetRegistry", self._party)

    def view(self, submission: JobSubmission) -> ChainView:
        """All that policy needs of one job, at one block; raises NotFinal if only the head has it."""
        chain, block = self.chain(), self.block()
        view = self._view(submission, block)
        ours = self._grant_of(submission)
        if self._config.chain.finality_depth and ours and view.reservation is None:
            job = from_hex(submission.request.job)
            if chain.reservation(job, from_hex(ours)) is not None:
                raise NotFinal("the reservation is on chain but not deep enough yet: try again")
        return view

    def standing(
        self, grant: str, dataset: str, consumer: str
    ) -> tuple[GrantRecord | None, DatasetRecord | None, PartyRecord | None, PartyRecord | None]:
        """What `policy.recheck` needs. Read at the head: a revocation counts as soon as it is seen."""
        chain = self.chain()
        block = chain.head()
        return (
            chain.grant(from_hex(grant), block=block),
            chain.dataset(from_hex(dataset), block=block),
            chain.party(from_hex(consumer), block=block),
            chain.party(self._party, block=block),
        )

    def close(self) -> None:
        """Give connections back."""
        if self._chain is not None:
            self._chain.close()

    def _view(self, submission: JobSubmission, block: BlockRef) -> ChainView:
        chain = self.chain()
        named = {p.grant for p in submission.spec.participants if p.grant is not None}
        ours = self._grant_of(submission)
        grants = {grant: chain.grant(from_hex(grant), block=block) for grant in sorted(named)}
        record = grants.get(ours) if ours else None
        return ChainView(
            block=block,
            node=chain.party(self._party, block=block),
            consumer=chain.party(from_hex(submission.request.consumer), block=block),
            grants=grants,
            dataset=chain.dataset(record.dataset, block=block) if record else None,
            reservation=chain.reservation(from_hex(submission.request.job), from_hex(ours), block=block)
            if ours
            else None,
        )

    def _grant_of(self, submission: JobSubmission) -> str | None:
        ours = part_of(self._config.party, submission.spec)
        return ours.grant if ours else None

    def _first_contact(self) -> Chain:
        settings = self._config.chain
        if settings.address_book is None:
            raise ChainUnreachable("no address book is configured: set [chain] address_book")
        chain = self._connect(settings.rpc_url, settings.address_book, float(settings.timeout_s))
        try:
            self._compare(chain, settings.address_book)
        except BaseException:
            chain.close()
            raise
        return chain

    def _compare(self, chain: Chain, address_book: str) -> None:
        place = f"{chain.chain_id} {address_book.lower()}"
        known = self._store.meta("chain")
        if known not in (None, place):
            raise StoreDamaged("this database belongs to another chain: use a fresh one, or the right chain")
        tip = chain.node_tip(self._party)
        if tip.sequence:
            same = self._store.receipts(tip.sequence - 1, 1)
            if not same or same[0].digest != to_hex(tip.digest):
                raise StoreDamaged(
                    f"the chain knows receipt {tip.sequence} of this node and this database does not: it was "
                    "restored or replaced; signing on would fork the receipt chain. Restore the newest copy"
                )
        for contract in NAMES:
            domain = chain.domain(contract)
            self._store.set_meta(f"domain/{contract}", f"{domain.chain_id} {domain.verifying_contract}")
        self._store.set_meta("chain", place)
