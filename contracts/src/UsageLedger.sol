// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Grant, Revocation, Line, JobRequest, Receipt, Batch} from "./interfaces/ILiutongTypes.sol";
import {IDatasetRegistry} from "./interfaces/IDatasetRegistry.sol";
import {IPartyRegistry} from "./interfaces/IPartyRegistry.sol";
import {IUsageLedger} from "./interfaces/IUsageLedger.sol";
import {Operations, Outcomes, Roles} from "./Codes.sol";
import {MerkleRoot} from "./MerkleRoot.sol";
import {PartySigned} from "./PartySigned.sol";
import {Structs} from "./Structs.sol";

/// @title UsageLedger
contract UsageLedger is IUsageLedger, PartySigned {
    uint256 public constant MAX_LINES = 16;
    uint256 public constant MAX_BATCH = 256;
    // A forgotten job must come back to its grant some day.
    uint64 public constant MAX_DEADLINE_S = 30 days;

    IDatasetRegistry public immutable DATASETS;
    /// @inheritdoc IUsageLedger
    uint64 public immutable releaseGraceS;

    mapping(bytes32 grant => GrantRecord) private _grants;
    mapping(bytes32 job => bytes32 specHash) private _specs;
    mapping(bytes32 job => mapping(bytes32 grant => ReservationRecord)) private _reservations;
    mapping(bytes32 node => NodeTip) private _tips;
    // Offline evidence proves entries of this mapping: contracts/README.md gives the slots.
    mapping(bytes32 node => mapping(uint64 firstSequence => BatchRecord)) private _batches;

    constructor(IPartyRegistry parties, IDatasetRegistry datasets, uint64 graceS) PartySigned(parties) {
        DATASETS = datasets;
        releaseGraceS = graceS;
    }

    /// @inheritdoc IUsageLedger
    function activate(Grant calldata grant, bytes calldata signature) external returns (bytes32 id) {
        id = Structs.hash(grant);
        GrantRecord storage record = _grants[id];
        if (record.provider != bytes32(0)) revert GrantExists(id);
        if (
            grant.operations == 0 || grant.operations & ~Operations.ALL != 0 || grant.quota == 0
                || grant.notBefore >= grant.expiry
        ) revert GrantTermsInvalid(id);
        if (grant.expiry <= block.timestamp) revert GrantExpired(id, grant.expiry);
        _requireParty(grant.provider, Roles.PROVIDER, id, signature);
        if (PARTIES.rolesOf(grant.consumer) & Roles.CONSUMER == 0) {
            revert RoleMissing(grant.consumer, Roles.CONSUMER);
        }
        (bytes32 owner,, bool frozen) = DATASETS.standing(grant.dataset);
        if (owner != grant.provider) revert NotDatasetOwner(grant.dataset, grant.provider);
        if (frozen) revert DatasetFrozen(grant.dataset);

        record.provider = grant.provider;
        record.consumer = grant.consumer;
        record.dataset = grant.dataset;
        record.termsHash = grant.termsHash;
        record.operations = grant.operations;
        record.quota = grant.quota;
        record.epsilonMicro = grant.epsilonMicro;
        record.notBefore = grant.notBefore;
        record.expiry = grant.expiry;
        record.activatedAt = uint64(block.timestamp);
        emit GrantActivated(id, grant.provider, grant.consumer, grant);
    }

    /// @inheritdoc IUsageLedger
    function revoke(Revocation calldata revocation, bytes calldata signature) external {
        bytes32 id = revocation.grant;
        GrantRecord storage record = _grants[id];
        bytes32 provider = record.provider;
        if (provider == bytes32(0)) revert GrantUnknown(id);
        if (record.revokedAt != 0) revert GrantRevoked(id);
        _requireKey(provider, PARTIES.activeKey(provider), Structs.hash(revocation), signature);
        record.revokedAt = uint64(block.timestamp);
        emit GrantWithdrawn(id, provider);
    }

    /// @inheritdoc IUsageLedger
    function reserve(JobRequest calldata request, bytes calldata signature) external returns (bytes32 job) {
        job = Structs.hash(request);
        if (_specs[job] != bytes32(0)) revert JobExists(job);
        if (request.specHash == bytes32(0)) revert SpecMissing(job);
        uint256 count = request.lines.length;
        if (count == 0) revert JobEmpty(job);
        if (count > MAX_LINES) revert JobTooWide(count, MAX_LINES);
        if (request.deadline <= block.timestamp) revert DeadlinePassed(request.deadline);
        uint64 latest = uint64(block.timestamp) + MAX_DEADLINE_S;
        if (request.deadline > latest) revert DeadlineTooFar(request.deadline, latest);
        _requireParty(request.consumer, Roles.CONSUMER, job, signature);

        _specs[job] = request.specHash;
        emit JobReserved(job, request.consumer, request.specHash, request.deadline);
        for (uint256 i = 0; i < count; ++i) {
            _hold(job, request.consumer, request.deadline, request.lines[i]);
        }
    }

    /// @inheritdoc IUsageLedger
    function commit(Receipt[] calldata receipts, bytes calldata signature) external {
        uint256 count = receipts.length;
        if (count == 0) revert BatchEmpty();
        if (count > MAX_BATCH) revert BatchTooLarge(count, MAX_BATCH);
        bytes32 node = receipts[0].node;
        uint64 first = _tips[node].sequence + 1;
        (bytes32[] memory digests, bytes32 root) = _chain(node, first, receipts);
        Batch memory batch = Batch({node: node, firstSequence: first, count: uint32(count), root: root});
        // A suspended node still owes its account of what it did, so suspension does not matter here.
        _requireKey(node, PARTIES.activeKey(node), Structs.hash(batch), signature);

        _tips[node] = NodeTip({digest: digests[count - 1], sequence: first + uint64(count) - 1});
        _batches[node][first] =
            BatchRecord({root: root, count: uint32(count), anchoredAt: uint64(block.timestamp)});
        emit BatchAnchored(node, first, uint32(count), root);
        for (uint256 i = 0; i < count; ++i) {
            _account(receipts[i], digests[i]);
        }
    }

    /// @inheritdoc IUsageLedger
    function release(bytes32 job, bytes32 grant) external {
        ReservationRecord storage reservation = _reservations[job][grant];
        if (reservation.state != ReservationState.Open) revert ReservationNotOpen(job, grant);
        uint64 notBefore = reservation.deadline + releaseGraceS;
        if (block.timestamp < notBefore) revert ReleaseTooEarly(job, grant, notBefore);
        reservation.state = ReservationState.Released;
        GrantRecord storage record = _grants[grant];
        record.reserved -= reservation.units;
        record.epsilonReserved -= reservation.epsilonMicro;
        emit LineReleased(job, grant, reservation.units, reservation.epsilonMicro);
    }

    /// @inheritdoc IUsageLedger
    function grantOf(bytes32 grant) external view returns (GrantRecord memory) {
        return _grants[grant];
    }

    /// @inheritdoc IUsageLedger
    function specOf(bytes32 job) external view returns (bytes32) {
        return _specs[job];
    }

    /// @inheritdoc IUsageLedger
    function reservationOf(bytes32 job, bytes32 grant) external view returns (ReservationRecord memory) {
        return _reservations[job][grant];
    }

    /// @inheritdoc IUsageLedger
    function tipOf(bytes32 node) external view returns (NodeTip memory) {
        return _tips[node];
    }

    /// @inheritdoc IUsageLedger
    function batchOf(bytes32 node, uint64 firstSequence) external view returns (BatchRecord memory) {
        return _batches[node][firstSequence];
    }

    /// Reserves one line or reverts the whole job.
    function _hold(bytes32 job, bytes32 consumer, uint64 deadline, Line calldata line) private {
        bytes32 id = line.grant;
        GrantRecord storage record = _grants[id];
        if (record.provider == bytes32(0)) revert GrantUnknown(id);
        if (record.consumer != consumer) revert NotGrantee(id, consumer);
        if (record.revokedAt != 0) revert GrantRevoked(id);
        if (block.timestamp < record.notBefore) revert GrantNotStarted(id, record.notBefore);
        if (block.timestamp >= record.expiry) revert GrantExpired(id, record.expiry);
        if (DATASETS.isFrozen(record.dataset)) revert DatasetFrozen(record.dataset);
        if (PARTIES.isSuspended(record.provider)) revert PartySuspended(record.provider);
        // A use of zero units would be a use that no quota ever ends.
        if (line.units == 0) revert UnitsMissing(id);
        ReservationRecord storage reservation = _reservations[job][id];
        if (reservation.state != ReservationState.None) revert LineRepeated(job, id);

        uint64 left = record.quota - record.used - record.reserved;
        if (line.units > left) revert QuotaExceeded(id, line.units, left);
        uint64 epsilonLeft = record.epsilonMicro - record.epsilonUsed - record.epsilonReserved;
        if (line.epsilonMicro > epsilonLeft) revert EpsilonExceeded(id, line.epsilonMicro, epsilonLeft);

        record.reserved += line.units;
        record.epsilonReserved += line.epsilonMicro;
        reservation.units = line.units;
        reservation.epsilonMicro = line.epsilonMicro;
        reservation.deadline = deadline;
        reservation.state = ReservationState.Open;
        emit LineReserved(job, id, line.units, line.epsilonMicro);
    }

    /// Checks that the receipts continue the node's chain without gap or fork; gives their digests and root.
    function _chain(bytes32 node, uint64 first, Receipt[] calldata receipts)
        private
        view
        returns (bytes32[] memory digests, bytes32 root)
    {
        uint256 count = receipts.length;
        digests = new bytes32[](count);
        bytes32[] memory leaves = new bytes32[](count);
        bytes32 previous = _tips[node].digest;
        for (uint256 i = 0; i < count; ++i) {
            Receipt calldata receipt = receipts[i];
            if (receipt.node != node) revert ReceiptForeign(node, receipt.node);
            uint64 expected = first + uint64(i);
            if (receipt.sequence != expected) revert ReceiptOutOfSequence(node, expected, receipt.sequence);
            if (receipt.previous != previous) {
                revert ReceiptChainBroken(node, expected, previous, receipt.previous);
            }
            previous = Structs.hash(receipt);
            digests[i] = previous;
            leaves[i] = MerkleRoot.leaf(previous);
        }
        root = MerkleRoot.compute(leaves);
    }

    /// Anchors one receipt and, if it can, settles its reservation.
    function _account(Receipt calldata receipt, bytes32 digest) private {
        emit ReceiptAnchored(
            receipt.node,
            receipt.job,
            receipt.grant,
            receipt.sequence,
            digest,
            receipt.units,
            receipt.epsilonMicro,
            receipt.outcome,
            receipt.settles
        );
        ReservationRecord storage reservation = _reservations[receipt.job][receipt.grant];
        GrantRecord storage record = _grants[receipt.grant];
        Unsettled why = _obstacle(receipt, reservation, record);
        if (why == Unsettled.Nothing && receipt.settles) {
            if (reservation.state == ReservationState.Open) {
                record.reserved -= reservation.units;
                record.epsilonReserved -= reservation.epsilonMicro;
            }
            record.used += receipt.units;
            record.epsilonUsed += receipt.epsilonMicro;
            reservation.state = ReservationState.Settled;
            emit LineSettled(receipt.job, receipt.grant, digest, receipt.units, receipt.epsilonMicro);
        } else if (why != Unsettled.Nothing) {
            emit ReceiptUnsettled(receipt.node, receipt.job, receipt.grant, digest, why);
        }
    }

    /// What keeps a receipt from being taken at its word; `Nothing` if it may be.
    function _obstacle(Receipt calldata receipt, ReservationRecord storage reservation, GrantRecord storage record)
        private
        view
        returns (Unsettled)
    {
        bool charges = receipt.units != 0 || receipt.epsilonMicro != 0;
        if (receipt.outcome < Outcomes.COMPLETED || receipt.outcome > Outcomes.EXPIRED) {
            return Unsettled.OutcomeInvalid;
        }
        if (!receipt.settles) return charges ? Unsettled.UnitsWithoutSettling : Unsettled.Nothing;
        if (receipt.outcome == Outcomes.REFUSED && charges) return Unsettled.UnitsOfRefusal;
        if (reservation.state == ReservationState.None) return Unsettled.ReservationMissing;
        if (reservation.state == ReservationState.Settled) return Unsettled.ReservationSettled;
        if (record.provider != receipt.node) return Unsettled.NotProvider;
        if (_specs[receipt.job] != receipt.specHash) return Unsettled.SpecMismatch;
        if (receipt.units > reservation.units || receipt.epsilonMicro > reservation.epsilonMicro) {
            return Unsettled.ReservationExceeded;
        }
        // Released meanwhile: the use happened, so it is charged if the consumer has not spent the rest since.
        if (
            reservation.state == ReservationState.Released
                && (
                    receipt.units > record.quota - record.used - record.reserved
                        || receipt.epsilonMicro > record.epsilonMicro - record.epsilonUsed - record.epsilonReserved
                )
        ) return Unsettled.QuotaGone;
        return Unsettled.Nothing;
    }
}
