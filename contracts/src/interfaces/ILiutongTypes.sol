// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

// The structures that parties sign (EIP-712). They mirror contracts/eip712.py field for field: a test compares
// the type hashes. Times are Unix seconds, epsilon is in millionths, digests named after a document are SHA-256.

/// A party takes a signing key into use; `index` is its place in the party's key history.
struct NodeKey {
    bytes32 party;
    address key;
    bytes32 boxKey;
    bytes32 heKeyDigest;
    uint64 index;
}

/// A provider registers a version of a dataset; versions count from 1 without gaps.
struct DatasetVersion {
    bytes32 dataset;
    bytes32 provider;
    uint32 version;
    uint8 kind;
    bytes32 commitment;
    bytes32 schemaHash;
}

/// A right to use one dataset. Its struct hash is the grant's id.
struct Grant {
    bytes32 provider;
    bytes32 consumer;
    bytes32 dataset;
    bytes32 termsHash;
    uint32 operations;
    uint64 quota;
    uint64 epsilonMicro;
    uint64 notBefore;
    uint64 expiry;
}

/// A provider ends a grant before its expiry.
struct Revocation {
    bytes32 grant;
}

/// What a job may use of one grant at most.
struct Line {
    bytes32 grant;
    uint64 units;
    uint64 epsilonMicro;
}

/// A consumer's order of one job over one or more grants. Its struct hash is the job's id.
struct JobRequest {
    bytes32 consumer;
    bytes32 specHash;
    bytes32 nonce;
    uint64 deadline;
    Line[] lines;
}

/// One node's account of one job under one grant. Its struct hash is the receipt's digest.
struct Receipt {
    bytes32 node;
    uint64 sequence;
    bytes32 previous;
    bytes32 job;
    bytes32 grant;
    bytes32 specHash;
    bytes32 commitment;
    bytes32 transcript;
    uint64 units;
    uint64 epsilonMicro;
    uint8 outcome;
    bool settles;
    uint64 issuedAt;
    bytes32 detail;
}

/// Consecutive receipts of one node under one Merkle root.
struct Batch {
    bytes32 node;
    uint64 firstSequence;
    uint32 count;
    bytes32 root;
}

/// An act of a party that needs no further field. `nonce` counts from 0 per party and contract.
struct Action {
    bytes32 party;
    bytes32 subject;
    uint8 verb;
    uint64 nonce;
}
