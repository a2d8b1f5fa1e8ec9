"""Where the contracts keep what evidence proves. Base slots come from the compiled storage layout.

Source: Solidity documentation, "Layout of state variables in storage". A test reads every location given
here from a live chain and compares it with the contract's own getter.
"""

from __future__ import annotations

from eth_utils.crypto import keccak

from contracts import artifacts

_KEY_WORDS = 4  # IPartyRegistry.KeyRecord
_ENTRY_WORDS = 2  # IAddressBook.Entry
_U64 = (1 << 64) - 1
_ADDRESS = (1 << 160) - 1


def batch(node: bytes, first_sequence: int) -> tuple[int, int]:
    """Slots of a batch's root, and of its count with the time of anchoring."""
    base = _entry(_number(first_sequence), _entry(node, _base("UsageLedger", "_batches")))
    return base, base + 1


def reservation(job: bytes, grant: bytes) -> int:
    """Slot of a reservation: units, epsilon, deadline, state."""
    return _entry(grant, _entry(job, _base("UsageLedger", "_reservations")))


def grant_provider(grant: bytes) -> int:
    """Slot of an activated grant's provider; zero if the grant was never activated."""
    return _entry(grant, _base("UsageLedger", "_grants"))


def key(party: bytes, index: int) -> tuple[int, int]:
    """Slots of a key's address with its start, and of its end."""
    base = _elements(_entry(party, _base("PartyRegistry", "_keys"))) + _KEY_WORDS * index
    return base, base + 1


def book_entry(name: str, index: int) -> tuple[int, int]:
    """Slots of an address book entry's target, and of its code hash."""
    base = _elements(_entry(name.encode().ljust(32, b"\0"), _base("AddressBook", "_history")))
    return base + _ENTRY_WORDS * index, base + _ENTRY_WORDS * index + 1


def split_count(word: int) -> int:
    """The count of a batch out of its second word."""
    return word & 0xFFFFFFFF


def split_address(word: int) -> tuple[bytes, int]:
    """An address and the 64-bit number packed above it."""
    return (word & _ADDRESS).to_bytes(20, "big"), word >> 160 & _U64


def split_reservation(word: int) -> tuple[int, int, int, int]:
    """Units, epsilon, deadline, state of a reservation."""
    return word & _U64, word >> 64 & _U64, word >> 128 & _U64, word >> 192 & 0xFF


def name(slot: int) -> str:
    """A slot as eth_getProof and bundles spell it."""
    return f"0x{slot:064x}"


def _base(contract: str, variable: str) -> int:
    return artifacts.load(contract).slots[variable]


def _entry(mapping_key: bytes, base: int) -> int:
    return int.from_bytes(keccak(mapping_key + _number(base)), "big")


def _elements(array_slot: int) -> int:
    return int.from_bytes(keccak(_number(array_slot)), "big")


def _number(value: int) -> bytes:
    return value.to_bytes(32, "big")
