"""Who signed an EIP-712 struct under one of our contracts' domains."""

from __future__ import annotations

from contracts import eip712
from contracts.errors import BadSignature
from market.ledger.chain import domain


def signer_of(contract: str, struct: eip712.Struct, signature: bytes) -> str | None:
    """The address behind a signature, None if the signature is malformed; raises ChainUnavailable."""
    try:
        return eip712.recover(domain(contract), struct, signature)
    except BadSignature:
        return None


def signed_by(address: str, contract: str, struct: eip712.Struct, signature: bytes) -> bool:
    """Whether exactly this address signed. Nobody has the empty address of a party without a known key."""
    signer = signer_of(contract, struct, signature)
    return signer is not None and signer.lower() == address.lower()
