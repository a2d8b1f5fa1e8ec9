// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Grant, Revocation, JobRequest, Receipt} from "./ILiutongTypes.sol";
import {IPartyErrors} from "./IPartyErrors.sol";

/// @title Grants, reservations, receipts and batch roots
/// @notice `used + reserved <= quota` holds for every grant at every moment, and likewise for epsilon. All calls
/// carry their own signatures, so anyone may relay them.
interface IUsageLedger is IPartyErrors {
    /// A grant as activated, with its counters. Units and epsilon move together.
    struct GrantRecord {
        bytes32 provider;
        bytes32 consumer;
        bytes32 dataset;
        bytes32 termsHash;
        uint64 quota;
        uint64 epsilonMicro;
        uint64 notBefore;
        uint64 expiry;
        uint64 used;
        uint64 reserved;
        uint64 epsilonUsed;
        uint64 epsilonReserved;
        uint32 operations;
        uint64 activatedAt;
        uint64 revokedAt;
    }

    enum ReservationState {
        None,
        Open,
        Settled,
        Released
    }

    /// What a job holds of one grant. Units and epsilon keep the reserved amounts after it closes.
    struct ReservationRecord {
        uint64 units;
        uint64 epsilonMicro;
        uint64 deadline;
        ReservationState state;
    }

    /// An anchored batch: `root` covers receipts `firstSequence` to `firstSequence + count - 1`.
    struct BatchRecord {
        bytes32 root;
        uint32 count;
        uint64 anchoredAt;
    }

    /// Where a node's receipt chain stands.
    struct NodeTip {
        bytes32 digest;
        uint64 sequence;
    }

    /// Why a receipt was anchored without charging anything. A node's chain never gets stuck on one receipt.
    enum Unsettled {
        Nothing, // the receipt does not claim to settle
        UnitsWithoutSettling,
        OutcomeInvalid,
        UnitsOfRefusal,
        ReservationMissing,
        ReservationSettled,
        NotProvider,
        SpecMismatch,
        ReservationExceeded,
        QuotaGone
    }

    event GrantActivated(
        bytes32 indexed grant, bytes32 indexed provider, bytes32 indexed consumer, Grant terms
    );
    event GrantWithdrawn(bytes32 indexed grant, bytes32 indexed provider);
    event JobReserved(bytes32 indexed job, bytes32 indexed consumer, bytes32 specHash, uint64 deadline);
    event LineReserved(bytes32 indexed job, bytes32 indexed grant, uint64 units, uint64 epsilonMicro);
    event LineSettled(bytes32 indexed job, bytes32 indexed grant, bytes32 receipt, uint64 units, uint64 epsilonMicro);
    event LineReleased(bytes32 indexed job, bytes32 indexed grant, uint64 units, uint64 epsilonMicro);
    event ReceiptAnchored(
        bytes32 indexed node,
        bytes32 indexed job,
        bytes32 indexed grant,
        uint64 sequence,
        bytes32 digest,
        uint64 units,
        uint64 epsilonMicro,
        uint8 outcome,
        bool settles
    );
    /// The receipt claimed to settle, or to charge, and did not.
    event ReceiptUnsettled(bytes32 indexed node, bytes32 indexed job, bytes32 indexed grant, bytes32 digest, Unsettled why);
    event BatchAnchored(bytes32 indexed node, uint64 firstSequence, uint32 count, bytes32 root);

    error GrantExists(bytes32 grant);
    error GrantUnknown(bytes32 grant);
    error GrantRevoked(bytes32 grant);
    error GrantExpired(bytes32 grant, uint64 expiry);
    error GrantNotStarted(bytes32 grant, uint64 notBefore);
    error GrantTermsInvalid(bytes32 grant);
    error NotGrantee(bytes32 grant, bytes32 consumer);
    error NotDatasetOwner(bytes32 dataset, bytes32 party);
    error DatasetFrozen(bytes32 dataset);
    error JobExists(bytes32 job);
    error JobEmpty(bytes32 job);
    error JobTooWide(uint256 lines, uint256 most);
    error SpecMissing(bytes32 job);
    error UnitsMissing(bytes32 grant);
    error DeadlinePassed(uint64 deadline);
    error DeadlineTooFar(uint64 deadline, uint64 latest);
    error LineRepeated(bytes32 job, bytes32 grant);
    error QuotaExceeded(bytes32 grant, uint64 asked, uint64 left);
    error EpsilonExceeded(bytes32 grant, uint64 asked, uint64 left);
    error ReservationNotOpen(bytes32 job, bytes32 grant);
    error ReleaseTooEarly(bytes32 job, bytes32 grant, uint64 notBefore);
    error BatchEmpty();
    error BatchTooLarge(uint256 count, uint256 most);
    error ReceiptForeign(bytes32 expected, bytes32 node);
    error ReceiptOutOfSequence(bytes32 node, uint64 expected, uint64 given);
    error ReceiptChainBroken(bytes32 node, uint64 sequence, bytes32 expected, bytes32 given);

    /// @notice Makes a grant usable. Its id is its struct hash, so the same grant activates once.
    /// @param signature `grant` signed by the current key of the provider, who must own the dataset
    /// @return id the grant's id
    function activate(Grant calldata grant, bytes calldata signature) external returns (bytes32 id);

    /// @notice Ends a grant for good. Open reservations stay until settled or released.
    /// @param signature `revocation` signed by the provider's current key, suspended or not
    function revoke(Revocation calldata revocation, bytes calldata signature) external;

    /// @notice Holds units and epsilon of every line, all or none. The job's id is the request's struct hash.
    /// @param signature `request` signed by the consumer's current key
    /// @return job the job's id
    function reserve(JobRequest calldata request, bytes calldata signature) external returns (bytes32 job);

    /// @notice Anchors a node's next receipts under one Merkle root and settles the reservations they close.
    /// @dev Reverts only if the receipts do not continue the node's chain or the signature is not the node's.
    /// A receipt that cannot settle is anchored and reported by `ReceiptUnsettled`.
    /// @param signature the `Batch` of these receipts signed by the node's current key, suspended or not
    function commit(Receipt[] calldata receipts, bytes calldata signature) external;

    /// @notice Gives back what a job reserved and no receipt settled. Anyone, after deadline + grace.
    function release(bytes32 job, bytes32 grant) external;

    function releaseGraceS() external view returns (uint64);

    /// @return all zero for an unknown grant
    function grantOf(bytes32 grant) external view returns (GrantRecord memory);

    /// @return zero for an unknown job
    function specOf(bytes32 job) external view returns (bytes32);

    function reservationOf(bytes32 job, bytes32 grant) external view returns (ReservationRecord memory);

    function tipOf(bytes32 node) external view returns (NodeTip memory);

    function batchOf(bytes32 node, uint64 firstSequence) external view returns (BatchRecord memory);
}
