"""Clients for the parties' nodes, signing with the portal's own key (which has no right on chain)."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings

from compute.client import NodeClient, StatementKey
from market.errors import KeyMissing, NodeUnavailable
from market.parties.models import Party


def portal_key() -> StatementKey:
    """The key in PORTAL_KEY_FILE (64 hexadecimal digits); nodes list its address. Raises KeyMissing."""
    if not settings.PORTAL_KEY_FILE:
        raise KeyMissing("PORTAL_KEY_FILE is not set")
    try:
        key = bytes.fromhex(Path(settings.PORTAL_KEY_FILE).read_text().strip().removeprefix("0x"))
    except (OSError, ValueError):
        key = b""
    if len(key) != 32:
        raise KeyMissing("PORTAL_KEY_FILE does not hold 64 hexadecimal digits")
    return StatementKey(key)


def node_client(party: Party) -> NodeClient:
    """A client for a party's node; close it or use ``with``. Raises NodeUnavailable without an address."""
    if not party.node_url:
        raise NodeUnavailable("the party has no node address")
    return NodeClient(party.node_url, party.party_id, portal_key(), timeout_s=settings.NODE_TIMEOUT_S)
