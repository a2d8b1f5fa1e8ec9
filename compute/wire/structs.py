"""From documents (hexadecimal text, canonical JSON) to the EIP-712 structs that are signed, and back.

Documents are validated by their types before they come here; what does not fit a struct's width raises
`contracts.errors.BadStruct`.
"""

from __future__ import annotations

from typing import cast

from compute.wire import canonical
from compute.wire.canonical import from_hex, to_hex
from compute.wire.messages import (
    DatasetManifest,
    Enrolment,
    GrantProposal,
    OperationName,
    OutcomeName,
    ReceiptDetail,
    SignedAction,
    SignedReceipt,
    SignedRequest,
)
from contracts import eip712
from contracts.eip712 import DatasetKind, Operation, Outcome

ZERO32 = bytes(32)


def operation_mask(names: tuple[OperationName, ...]) -> int:
    """The bit mask that the chain stores for a list of operations."""
    return int(sum({Operation[name.upper()] for name in names}))


def grant(proposal: GrantProposal) -> eip712.Grant:
    """What the provider's node signs for a proposal."""
    return eip712.Grant(
        provider=from_hex(proposal.provider),
        consumer=from_hex(proposal.consumer),
        dataset=from_hex(proposal.dataset),
        terms_hash=canonical.digest(proposal.terms),
        operations=operation_mask(proposal.terms.operations),
        quota=proposal.quota,
        epsilon_micro=proposal.epsilon_micro,
        not_before=proposal.not_before,
        expiry=proposal.expiry,
    )


def dataset_version(manifest: DatasetManifest) -> eip712.DatasetVersion:
    """What the provider's node signed for a manifest."""
    return eip712.DatasetVersion(
        dataset=from_hex(manifest.dataset),
        provider=from_hex(manifest.provider),
        version=manifest.version,
        kind=int(DatasetKind[manifest.kind.upper()]),
        commitment=from_hex(manifest.commitment),
        schema_hash=from_hex(manifest.schema_hash),
    )


def job_request(request: SignedRequest) -> eip712.JobRequest:
    """What the consumer signed; its struct hash is the job's id."""
    return eip712.JobRequest(
        consumer=from_hex(request.consumer),
        spec_hash=from_hex(request.spec_hash),
        nonce=from_hex(request.nonce),
        deadline=request.deadline,
        lines=tuple(
            eip712.Line(from_hex(line.grant), line.units, line.epsilon_micro) for line in request.lines
        ),
    )


def node_key(enrolment: Enrolment, index: int = 0) -> eip712.NodeKey:
    """What an enrolment's signature is over."""
    return eip712.NodeKey(
        party=from_hex(enrolment.party),
        key=enrolment.address,
        box_key=from_hex(enrolment.box_key),
        he_key_digest=from_hex(enrolment.he_key_digest),
        index=index,
    )


def action(signed: SignedAction) -> eip712.Action:
    """What an action's signature is over."""
    return eip712.Action(from_hex(signed.party), from_hex(signed.subject), signed.verb, signed.nonce)


def receipt(signed: SignedReceipt) -> eip712.Receipt:
    """What a receipt's signature is over; the detail enters by its digest."""
    return eip712.Receipt(
        node=from_hex(signed.node),
        sequence=signed.sequence,
        previous=from_hex(signed.previous),
        job=from_hex(signed.job),
        grant=from_hex(signed.grant),
        spec_hash=from_hex(signed.spec_hash),
        commitment=from_hex(signed.commitment),
        transcript=from_hex(signed.transcript),
        units=signed.units,
        epsilon_micro=signed.epsilon_micro,
        outcome=int(Outcome[signed.outcome.upper()]),
        settles=signed.settles,
        issued_at=signed.issued_at,
        detail=canonical.digest(signed.detail),
    )


def signed_receipt(struct: eip712.Receipt, detail: ReceiptDetail, signature: bytes) -> SignedReceipt:
    """The document of a receipt that was just signed."""
    return SignedReceipt(
        digest=to_hex(eip712.struct_hash(struct)),
        node=to_hex(struct.node),
        sequence=struct.sequence,
        previous=to_hex(struct.previous),
        job=to_hex(struct.job),
        grant=to_hex(struct.grant),
        spec_hash=to_hex(struct.spec_hash),
        commitment=to_hex(struct.commitment),
        transcript=to_hex(struct.transcript),
        units=struct.units,
        epsilon_micro=struct.epsilon_micro,
        outcome=cast(OutcomeName, Outcome(struct.outcome).name.lower()),
        settles=struct.settles,
        issued_at=struct.issued_at,
        detail=detail,
        signature=to_hex(signature),
    )
