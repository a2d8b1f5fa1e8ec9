// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// @title Root of a Merkle tree over digests, shaped as in RFC 9162 section 2.1.1, with keccak256
/// @dev Leaves are tagged 0x00 and nodes 0x01, so that a node can never be passed off as a leaf.
library MerkleRoot {
    function leaf(bytes32 digest) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(bytes1(0x00), digest));
    }

    function node(bytes32 left, bytes32 right) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(bytes1(0x01), left, right));
    }

    /// Reduces `level` in place; it must hold at least one leaf and is spent afterwards.
    function compute(bytes32[] memory level) internal pure returns (bytes32) {
        uint256 length = level.length;
        while (length > 1) {
            uint256 pairs = length / 2;
            for (uint256 i = 0; i < pairs; ++i) {
                level[i] = node(level[2 * i], level[2 * i + 1]);
            }
            // An odd last node moves up unchanged: hashing it with itself would let two lists share a root.
            if (length % 2 == 1) {
                level[pairs] = level[length - 1];
                length = pairs + 1;
            } else {
                length = pairs;
            }
        }
        return level[0];
    }
}
