// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {
    NodeKey,
    DatasetVersion,
    Grant,
    Revocation,
    Line,
    JobRequest,
    Receipt,
    Batch,
    Action
} from "./interfaces/ILiutongTypes.sol";

/// @title EIP-712 type hashes and struct hashes of everything that parties sign
library Structs {
    bytes32 internal constant NODE_KEY =
        keccak256("NodeKey(bytes32 party,address key,bytes32 boxKey,bytes32 heKeyDigest,uint64 index)");
    bytes32 internal constant DATASET_VERSION = keccak256(
        "DatasetVersion(bytes32 dataset,bytes32 provider,uint32 version,uint8 kind,"
        "bytes32 commitment,bytes32 schemaHash)"
    );
    bytes32 internal constant GRANT = keccak256(
        "Grant(bytes32 provider,bytes32 consumer,bytes32 dataset,bytes32 termsHash,uint32 operations,"
        "uint64 quota,uint64 epsilonMicro,uint64 notBefore,uint64 expiry)"
    );
    bytes32 internal constant REVOCATION = keccak256("Revocation(bytes32 grant)");
    bytes32 internal constant LINE = keccak256("Line(bytes32 grant,uint64 units,uint64 epsilonMicro)");
    bytes32 internal constant JOB_REQUEST = keccak256(
        "JobRequest(bytes32 consumer,bytes32 specHash,bytes32 nonce,uint64 deadline,Line[] lines)"
        "Line(bytes32 grant,uint64 units,uint64 epsilonMicro)"
    );
    bytes32 internal constant RECEIPT = keccak256(
        "Receipt(bytes32 node,uint64 sequence,bytes32 previous,bytes32 job,bytes32 grant,bytes32 specHash,"
        "bytes32 commitment,bytes32 transcript,uint64 units,uint64 epsilonMicro,uint8 outcome,bool settles,"
        "uint64 issuedAt,bytes32 detail)"
    );
    bytes32 internal constant BATCH = keccak256("Batch(bytes32 node,uint64 firstSequence,uint32 count,bytes32 root)");
    bytes32 internal constant ACTION = keccak256("Action(bytes32 party,bytes32 subject,uint8 verb,uint64 nonce)");

    // A struct of static members is encoded in place, so abi.encode gives exactly EIP-712's encodeData.

    function hash(NodeKey calldata value) internal pure returns (bytes32) {
        return keccak256(abi.encode(NODE_KEY, value));
    }

    function hash(DatasetVersion calldata value) internal pure returns (bytes32) {
        return keccak256(abi.encode(DATASET_VERSION, value));
    }

    function hash(Grant calldata value) internal pure returns (bytes32) {
        return keccak256(abi.encode(GRANT, value));
    }

    function hash(Revocation calldata value) internal pure returns (bytes32) {
        return keccak256(abi.encode(REVOCATION, value));
    }

    function hash(Line calldata value) internal pure returns (bytes32) {
        return keccak256(abi.encode(LINE, value));
    }

    function hash(JobRequest calldata value) internal pure returns (bytes32) {
        bytes32[] memory lines = new bytes32[](value.lines.length);
        for (uint256 i = 0; i < lines.length; ++i) {
            lines[i] = hash(value.lines[i]);
        }
        return keccak256(
            abi.encode(
                JOB_REQUEST,
                value.consumer,
                value.specHash,
                value.nonce,
                value.deadline,
                keccak256(abi.encodePacked(lines))
            )
        );
    }

    function hash(Receipt calldata value) internal pure returns (bytes32) {
        return keccak256(abi.encode(RECEIPT, value));
    }

    function hash(Batch memory value) internal pure returns (bytes32) {
        return keccak256(abi.encode(BATCH, value));
    }

    function hash(Action calldata value) internal pure returns (bytes32) {
        return keccak256(abi.encode(ACTION, value));
    }
}
