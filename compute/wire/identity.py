"""Who signs and who is believed: the two small interfaces between wire, key store and chain."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol

# Party id ("0x" + 64 hexadecimal digits) to the checksummed addresses that may act for it now; empty for a
# party that is unknown or suspended. Reads the chain, so it may block and may raise ChainUnreachable;
# nothing here catches that.
KeyDirectory = Callable[[str], Collection[str]]


class StatementSigner(Protocol):
    """Signs statements with a party's key; `compute.keys.signer.NodeSigner` is one."""

    @property
    def address(self) -> str:
        """The checksummed address of the key."""

    def sign_statement(self, purpose: str, payload: bytes) -> bytes:
        """A 65-byte signature over `contracts.statement.digest(purpose, payload)`."""
