"""What can go wrong between Python and the chain. Codes are stable and never reused."""

from __future__ import annotations


class ContractError(Exception):
    """Root of this package's errors; ``code`` is what callers and the API's edge match on."""

    code = "chain.error"

    def __init__(self, message: str, **detail: object) -> None:
        super().__init__(message)
        self.detail = detail


class BadStruct(ContractError):
    """A value does not fit the Solidity type it is to be signed or sent as."""

    code = "chain.bad_struct"


class BadSignature(ContractError):
    """A signature is malformed, malleable, or not by the key it should be by."""

    code = "chain.bad_signature"


class ChainUnreachable(ContractError):
    """No answer from the JSON-RPC endpoint. New work must stop; nothing is assumed."""

    code = "chain.unreachable"


class ChainUnsupported(ContractError):
    """The chain does not behave like the EVM we rely on (keccak, ecrecover, proofs, chain id)."""

    code = "chain.unsupported"


class Reverted(ContractError):
    """A contract refused a call. ``name`` is its custom error, ``arguments`` its decoded fields."""

    code = "chain.reverted"

    def __init__(self, name: str, arguments: dict[str, object]) -> None:
        super().__init__(f"{name}({', '.join(f'{k}={v}' for k, v in arguments.items())})", **arguments)
        self.name = name
        self.arguments = arguments


class BadEvidence(ContractError):
    """An evidence bundle does not prove what it claims; the message names the first broken link."""

    code = "evidence.invalid"
