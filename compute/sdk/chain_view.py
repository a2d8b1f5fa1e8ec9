"""What the SDK asks the chain itself, because the portal is not to be believed about it."""

from __future__ import annotations

from functools import cached_property

from compute.errors import BadInput
from compute.sdk.errors import BadPortalAnswer
from compute.sdk.objects import ChainInfo
from compute.sdk.portal import Portal
from compute.wire.canonical import from_hex
from contracts.bindings import Chain
from contracts.eip712 import Domain


class ChainView:
    """The chain that a client trusts, opened at first use.

    Without ``rpc_url`` and ``address_book`` the portal's word is taken for them; pin both wherever its
    operator is not to be trusted with introducing you to the nodes.
    """

    def __init__(self, portal: Portal | None, rpc_url: str | None, address_book: str | None) -> None:
        self._portal = portal
        self._rpc_url = rpc_url
        self._address_book = address_book

    @cached_property
    def chain(self) -> Chain:
        """The binding; raises BadPortalAnswer if the portal relays to another address book than is pinned."""
        rpc_url, address_book = self._rpc_url, self._address_book
        if self._portal is not None and (rpc_url is None or address_book is None):
            info = self._portal.get("chain", ChainInfo)
            if address_book is not None and info.address_book.lower() != address_book.lower():
                raise BadPortalAnswer("the portal relays to another address book than the one you pinned")
            rpc_url, address_book = rpc_url or info.rpc_url, address_book or info.address_book
        return Chain(rpc_url or "", address_book or "")

    def domain(self, contract: str) -> Domain:
        """The EIP-712 domain that signatures for a contract need."""
        return self.chain.domain(contract)

    def addresses_of(self, party: str) -> tuple[str, ...]:
        """The key directory for handshakes: the party's active address, none while it is suspended."""
        record = self.chain.party(from_hex(party))
        return () if record is None or record.suspended else (record.address,)

    def box_key_of(self, party: str) -> bytes:
        """The key to seal to for a party; raises BadInput for one that is unknown or suspended."""
        record = self.chain.party(from_hex(party))
        if record is None or record.suspended:
            raise BadInput(f"party {party} is not active on chain")
        return record.box_key

    def signers_of(self, party: str) -> tuple[str, ...]:
        """Every address the party ever signed with: what it signed outlives a change of key."""
        record = self.chain.party(from_hex(party))
        return () if record is None else tuple(key.address for key in record.keys)
