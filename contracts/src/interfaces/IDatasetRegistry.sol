// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {DatasetVersion, Action} from "./ILiutongTypes.sol";
import {IPartyErrors} from "./IPartyErrors.sol";

/// @title Datasets: owner, versions, commitments, freezes
/// @notice Holds digests only. The first registration fixes the owner for good.
interface IDatasetRegistry is IPartyErrors {
    /// One version. `commitment` is the Merkle root of salted row digests.
    struct VersionRecord {
        bytes32 commitment;
        bytes32 schemaHash;
        uint64 registeredAt;
        uint8 kind;
    }

    event DatasetRegistered(
        bytes32 indexed dataset,
        bytes32 indexed provider,
        uint32 version,
        uint8 kind,
        bytes32 commitment,
        bytes32 schemaHash
    );
    event FreezeLaid(bytes32 indexed dataset, bytes32 indexed by);
    event FreezeLifted(bytes32 indexed dataset, bytes32 indexed by);

    error DatasetUnknown(bytes32 dataset);
    error DatasetOwned(bytes32 dataset, bytes32 owner);
    error VersionOutOfOrder(bytes32 dataset, uint32 expected, uint32 given);
    error VersionUnknown(bytes32 dataset, uint32 version);
    error KindInvalid(uint8 kind);
    error KindChanged(bytes32 dataset, uint8 kind);
    error CommitmentMissing(bytes32 dataset);
    error FreezeUnchanged(bytes32 dataset, bytes32 by);
    error NotOwnerOrRegulator(bytes32 dataset, bytes32 party);

    /// @notice Registers the next version of a dataset. Anyone may relay it.
    /// @param signature `version` signed by the provider's current key
    function register(DatasetVersion calldata version, bytes calldata signature) external;

    /// @notice Freezes `action.subject` (verb 1): no new reservation on any grant over it.
    /// @param signature by the owner or by a regulator; each of them freezes for itself
    function freeze(Action calldata action, bytes calldata signature) external;

    /// @notice Lifts the freeze that the same party laid (verb 2); others' freezes stay.
    function unfreeze(Action calldata action, bytes calldata signature) external;

    /// @return owner zero for an unknown dataset
    function standing(bytes32 dataset) external view returns (bytes32 owner, uint32 latest, bool frozen);

    function ownerOf(bytes32 dataset) external view returns (bytes32);

    function isFrozen(bytes32 dataset) external view returns (bool);

    function frozenBy(bytes32 dataset, bytes32 by) external view returns (bool);

    function versionAt(bytes32 dataset, uint32 version) external view returns (VersionRecord memory);

    /// @notice Every version of a dataset, version 1 first.
    function versionsOf(bytes32 dataset) external view returns (VersionRecord[] memory);

    /// @return the nonce that the party's next `Action` must carry here
    function nonceOf(bytes32 party) external view returns (uint64);
}
