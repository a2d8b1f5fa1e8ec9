"""The one door to the chain: a process-wide `contracts.bindings.Chain`, made on first use."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

from django.conf import settings

from contracts.eip712 import Domain
from contracts.errors import ChainUnreachable
from market.errors import ChainUnavailable

if TYPE_CHECKING:
    from contracts.bindings import Chain

_lock = threading.Lock()
_chain: Chain | None = None


def chain() -> Chain:
    """The chain named by CHAIN_RPC_URL and ADDRESS_BOOK; raises ChainUnavailable without an answer."""
    global _chain
    if _chain is None:
        with _lock:
            if _chain is None:
                _chain = _connect()
    return _chain


def use(instead: Chain | None) -> None:
    """Put a chain in place (tests, embedded supervisor), or None to connect anew on next use."""
    global _chain
    with _lock:
        _chain = instead


def domain(contract: str) -> Domain:
    """The EIP-712 domain of a contract; raises ChainUnavailable."""
    try:
        return chain().domain(contract)
    except ChainUnreachable as error:
        raise ChainUnavailable() from error


def require() -> None:
    """Raises ChainUnavailable unless the chain answers now: new work is not taken on blindly."""
    try:
        chain().head()
    except ChainUnreachable as error:
        raise ChainUnavailable() from error


def _connect() -> Chain:
    from contracts.bindings import Chain

    if not settings.ADDRESS_BOOK:
        raise ChainUnavailable("ADDRESS_BOOK is not set: deploy the contracts first")
    address_book = settings.ADDRESS_BOOK
    if not address_book.startswith("0x"):
        address_book = Path(address_book).read_text().strip()
    try:
        return Chain(settings.CHAIN_RPC_URL, address_book, timeout_s=settings.CHAIN_TIMEOUT_S)
    except ChainUnreachable as error:
        raise ChainUnavailable() from error
