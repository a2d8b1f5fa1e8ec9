"""Parties with keys, and the directory that stands for the chain in wire tests."""

from __future__ import annotations

from coincurve import PrivateKey

from contracts import statement
from contracts.eip712 import address_of


class Party:
    def __init__(self, number: int) -> None:
        self._secret = bytes([number]) * 32
        self.id = "0x" + bytes([0xA0 + number]).hex() * 32
        self.address = address_of(PrivateKey(self._secret).public_key.format(compressed=False))

    def sign_statement(self, purpose: str, payload: bytes) -> bytes:
        return statement.sign(purpose, payload, self._secret)


ALICE, BOB, CHARLIE = Party(1), Party(2), Party(3)
ADDRESSES = {party.id: {party.address} for party in (ALICE, BOB, CHARLIE)}


def directory(party: str) -> set[str]:
    return ADDRESSES.get(party, set())
