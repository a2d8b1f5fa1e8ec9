"""What can go wrong between Python and the chain. Codes are stable and never reused."""

from __future__ import annotations


def _readable(value: object) -> object:
    return "0x" + value.hex() if isinstance(value, bytes) else value


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
        shown = ", ".join(f"{key}={_readable(value)}" for key, value in arguments.items())
        super().__init__(f"{name}({shown})", **arguments)
        self.name = name
        self.arguments = arguments


class BadEvidence(ContractError):
    """An evidence bundle does not prove what it claims; the message names the first broken link."""

    code = "evidence.invalid"

    @property
    def link(self) -> str:
        """The name of the broken link: what stands before the colon."""
        return str(self).split(":", 1)[0]


class BuildFailed(ContractError):
    """The contracts do not compile, or the compiler is not installed."""

    code = "chain.build_failed"


class BadChainData(ContractError):
    """The endpoint answered with something that does not decode: a wrong address, or not an EVM chain."""

    code = "chain.bad_data"


class RpcFailed(ContractError):
    """The endpoint answered a JSON-RPC error that is not a contract's revert; ``detail`` has its code."""

    code = "chain.rpc_failed"


class BlockUnknown(ContractError):
    """The chain does not know the block (any more): it was reorganised away, or pruned."""

    code = "chain.block_unknown"
