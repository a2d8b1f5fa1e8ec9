"""Receipts: a node's signed account of its part in a job, chained by sequence and previous digest.

The store calls `write` inside the transaction that makes a job final, so that a job without receipt, two
receipts of one sequence number, or a gap cannot exist, whatever kills the process. Sources: EIP-712 structs
of `contracts.eip712`, Merkle tree of `contracts.merkle`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from compute.keys.signer import NodeSigner
from compute.wire import canonical, structs
from compute.wire.canonical import from_hex, to_hex
from compute.wire.messages import OutcomeName, ReceiptDetail, SignedBatch, SignedReceipt
from contracts import eip712, merkle
from contracts.eip712 import Domain, Outcome

ZERO32 = bytes(32)
_MESSAGE_CHARACTERS = 400


@dataclass(frozen=True)
class Draft:
    """All of a receipt but its place in the chain. Ids and digests are 32 bytes."""

    job: bytes
    grant: bytes
    spec_hash: bytes
    commitment: bytes
    transcript: bytes
    units: int
    outcome: OutcomeName
    settles: bool
    issued_at: int
    detail: ReceiptDetail
    # No v1 protocol spends ε; the field is there for those that will.
    epsilon_micro: int = 0


# Gives (sequence, previous digest) their signed receipt; run inside the store's transaction.
Writer = Callable[[int, bytes], SignedReceipt]


class ReceiptSigner:
    """Signs this node's receipts and batches for one ledger contract."""

    def __init__(self, signer: NodeSigner, domain: Domain, node: str) -> None:
        self._signer = signer
        self._domain = domain
        self._node = from_hex(node)

    def write(self, draft: Draft) -> Writer:
        """A writer of this draft, for whatever place in the chain it gets."""

        def writer(sequence: int, previous: bytes) -> SignedReceipt:
            struct = eip712.Receipt(
                node=self._node,
                sequence=sequence,
                previous=previous,
                job=draft.job,
                grant=draft.grant,
                spec_hash=draft.spec_hash,
                commitment=draft.commitment,
                transcript=draft.transcript,
                units=draft.units,
                epsilon_micro=draft.epsilon_micro,
                outcome=int(Outcome[draft.outcome.upper()]),
                settles=draft.settles,
                issued_at=draft.issued_at,
                detail=canonical.digest(draft.detail),
            )
            return structs.signed_receipt(struct, draft.detail, self._signer.sign(self._domain, struct))

        return writer

    def batch(self, receipts: Sequence[SignedReceipt]) -> SignedBatch:
        """Sign consecutive receipts as one batch, ready for `UsageLedger.commit`."""
        root = merkle.root([from_hex(receipt.digest) for receipt in receipts])
        struct = eip712.Batch(self._node, receipts[0].sequence, len(receipts), root)
        return SignedBatch(
            node=to_hex(self._node),
            first_sequence=struct.first_sequence,
            root=to_hex(root),
            receipts=tuple(receipts),
            signature=to_hex(self._signer.sign(self._domain, struct)),
        )


def short(message: str) -> str:
    """A message as it may stand in a receipt: bounded, one line."""
    return " ".join(message.split())[:_MESSAGE_CHARACTERS]
