"""Sizes of a run, from public numbers alone: what crosses, and how the correlations are laid out.

| symbol | value | source |
|---|---|---|
| statistical security | 40 bits | RR22 section 6; the caller's tags have 40 + log2(nx·ny) bits |
| computational security | 128 bits | GF(2^128), AES-128, secp256k1, SM3 |
| noise blocks t | 848 | `accel.expand_accumulate`: linear tests have bias (1 - 2d)^t, d = 0.05 as in libOTe |
| code length m | 5 an output | ExAcc code of rate 1/5 (Boyle et al., CRYPTO 2022; RR22 section 5) |
| key bits per tree k | 4; low communication 8 | Roy, CRYPTO 2022: 128/k bits cross per bit, 2^k are made |
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from accel import expand_accumulate, ggm, okvs
from compute.errors import BadInput
from compute.protocols.psi.rr22 import base_ot, noisy_vole
from compute.protocols.psi.rr22.subspace_vole import DIGEST_BYTES, KEY_BITS

STATISTICAL_BITS = 40
BLOCK_BYTES = 16
# Below, noise is not worth its trees: every output is a product by Gilboa.
_FEWEST_SILENT = 1 << 12


@dataclass(frozen=True)
class Mode:
    """``checked``: secure against malicious peers; ``words`` of 64 bits per table entry; ``tree_bits``: k.

    ``bin_items``: items of a table's bin on average. Larger bins make tables smaller and slower.
    """

    name: str
    checked: bool
    words: int
    tree_bits: int
    bin_items: int

    @property
    def trees(self) -> int:
        """Trees of key bits."""
        return KEY_BITS // self.tree_bits


STANDARD = Mode("rr22", checked=False, words=2, tree_bits=4, bin_items=1 << 14)
LOW_COMMUNICATION = Mode("rr22-low", checked=False, words=1, tree_bits=8, bin_items=1 << 18)
MALICIOUS = Mode("rr22-malicious", checked=True, words=2, tree_bits=4, bin_items=1 << 14)


@dataclass(frozen=True)
class Shape:
    """One bucket whose receiver has ``count`` items.

    ``outputs``: entries of the table, hence products needed. ``noise`` trees of ``leaves`` (0: none, all
    outputs are products by Gilboa). Blocks of u: first ``choice_blocks`` that pick the trees' sums, then
    ``value_blocks`` that are noise values; checked modes add one value and one block that hides u's hash.
    """

    mode: Mode
    count: int
    outputs: int
    noise: int
    leaves: int

    @property
    def depth(self) -> int:
        """Levels of a noise tree."""
        return ggm.depth(self.leaves)

    @property
    def choices(self) -> int:
        """Transfers that the noise trees take."""
        return self.noise * self.depth

    @property
    def choice_blocks(self) -> int:
        """Blocks of u that choose."""
        return -(-self.choices // KEY_BITS)

    @property
    def combined(self) -> bool:
        """Is there a random combination of all noise to compare?"""
        return self.mode.checked and self.noise > 0

    @property
    def products(self) -> int:
        """Values multiplied by Gilboa: the noise and the mask of its check, or all outputs."""
        return self.noise + int(self.combined) if self.noise else self.outputs

    @property
    def value_blocks(self) -> int:
        """Blocks of u that are values."""
        return noisy_vole.blocks_of(self.products, self.mode.words)

    @property
    def blocks(self) -> int:
        """Blocks of u."""
        return self.choice_blocks + self.value_blocks + int(self.mode.checked)

    # Bytes of what crosses, in the order of the run.

    @property
    def choose_bytes(self) -> int:
        """Sender to receiver: points of the base transfers, and in checked modes a commitment."""
        return KEY_BITS * 2 * base_ot.POINT_BYTES + (DIGEST_BYTES if self.mode.checked else 0)

    @property
    def extend_bytes(self) -> int:
        """Receiver to sender: base transfers, trees of the key with proof, corrections, flips, code seed."""
        proof = self.mode.trees * 2 * BLOCK_BYTES + DIGEST_BYTES if self.mode.checked else 0
        trees = KEY_BITS * (base_ot.POINT_BYTES + 2 * BLOCK_BYTES)
        corrections = (self.mode.trees - 1) * self.blocks * BLOCK_BYTES
        return trees + proof + corrections + self.flip_bytes + expand_accumulate.SEED_BYTES

    @property
    def flip_bytes(self) -> int:
        """Packed bits that turn random choices into those of the noise."""
        return -(-self.choices // 8)

    @property
    def noise_bytes(self) -> int:
        """Sender to receiver: masked sums of the noise trees, and one correction per tree."""
        return (2 * self.choices + self.noise) * BLOCK_BYTES

    @property
    def table_bytes(self) -> int:
        """Receiver to sender: seed of the table, share of the coin in checked modes, masked entries."""
        seeds = BLOCK_BYTES * (2 if self.mode.checked else 1)
        return seeds + self.outputs * 8 * self.mode.words


def check_sound(mode: Mode, of_sender: int) -> None:
    """Raises BadInput if an item of the sender meets a table's value by chance with more than 2^-40."""
    value_bits = 64 * mode.words
    if STATISTICAL_BITS + (max(1, of_sender) - 1).bit_length() > value_bits:
        raise BadInput(
            f"{mode.name} compares {value_bits} bits: too few for {of_sender} items in one bucket",
            items=of_sender,
        )


@lru_cache(maxsize=64)
def shape(mode: Mode, count: int) -> Shape:
    """The sizes of a bucket whose receiver has ``count`` items, at least one."""
    outputs = okvs.layout(count, STATISTICAL_BITS, mode.bin_items).size
    if outputs < _FEWEST_SILENT:
        return Shape(mode, count, outputs, 0, 1)
    code = expand_accumulate.code(outputs)
    return Shape(mode, count, outputs, code.weight, code.block)
