// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {DatasetVersion, Action} from "./interfaces/ILiutongTypes.sol";
import {IDatasetRegistry} from "./interfaces/IDatasetRegistry.sol";
import {IPartyRegistry} from "./interfaces/IPartyRegistry.sol";
import {Kinds, Roles, Verbs} from "./Codes.sol";
import {PartySigned} from "./PartySigned.sol";
import {Structs} from "./Structs.sol";

/// @title DatasetRegistry
contract DatasetRegistry is IDatasetRegistry, PartySigned {
    struct Dataset {
        bytes32 owner;
        uint32 freezes;
    }

    mapping(bytes32 dataset => Dataset) private _datasets;
    mapping(bytes32 dataset => VersionRecord[]) private _versions;
    mapping(bytes32 dataset => mapping(bytes32 by => bool)) private _frozenBy;
    mapping(bytes32 party => uint64) private _nonces;

    constructor(IPartyRegistry parties) PartySigned(parties) {}

    /// @inheritdoc IDatasetRegistry
    function register(DatasetVersion calldata version, bytes calldata signature) external {
        bytes32 id = version.dataset;
        if (id == bytes32(0)) revert DatasetUnknown(id);
        if (version.kind != Kinds.TABLE && version.kind != Kinds.SERVICE) revert KindInvalid(version.kind);
        if (version.commitment == bytes32(0)) revert CommitmentMissing(id);
        _requireParty(version.provider, Roles.PROVIDER, Structs.hash(version), signature);

        Dataset storage dataset = _datasets[id];
        VersionRecord[] storage versions = _versions[id];
        if (dataset.owner == bytes32(0)) {
            dataset.owner = version.provider;
        } else {
            if (dataset.owner != version.provider) revert DatasetOwned(id, dataset.owner);
            // A table that turns into a service would carry grants over rows into something else.
            if (versions[0].kind != version.kind) revert KindChanged(id, version.kind);
        }
        uint32 expected = uint32(versions.length) + 1;
        if (version.version != expected) revert VersionOutOfOrder(id, expected, version.version);
        versions.push(
            VersionRecord({
                commitment: version.commitment,
                schemaHash: version.schemaHash,
                registeredAt: uint64(block.timestamp),
                kind: version.kind
            })
        );
        emit DatasetRegistered(
            id, version.provider, version.version, version.kind, version.commitment, version.schemaHash
        );
    }

    /// @inheritdoc IDatasetRegistry
    function freeze(Action calldata action, bytes calldata signature) external {
        _checkAction(action, Verbs.FREEZE, signature);
        bytes32 id = action.subject;
        if (_frozenBy[id][action.party]) revert FreezeUnchanged(id, action.party);
        _frozenBy[id][action.party] = true;
        _datasets[id].freezes += 1;
        emit FreezeLaid(id, action.party);
    }

    /// @inheritdoc IDatasetRegistry
    function unfreeze(Action calldata action, bytes calldata signature) external {
        _checkAction(action, Verbs.UNFREEZE, signature);
        bytes32 id = action.subject;
        if (!_frozenBy[id][action.party]) revert FreezeUnchanged(id, action.party);
        _frozenBy[id][action.party] = false;
        _datasets[id].freezes -= 1;
        emit FreezeLifted(id, action.party);
    }

    /// @inheritdoc IDatasetRegistry
    function standing(bytes32 dataset) external view returns (bytes32 owner, uint32 latest, bool frozen) {
        Dataset storage record = _datasets[dataset];
        return (record.owner, uint32(_versions[dataset].length), record.freezes != 0);
    }

    /// @inheritdoc IDatasetRegistry
    function ownerOf(bytes32 dataset) external view returns (bytes32) {
        return _datasets[dataset].owner;
    }

    /// @inheritdoc IDatasetRegistry
    function isFrozen(bytes32 dataset) external view returns (bool) {
        return _datasets[dataset].freezes != 0;
    }

    /// @inheritdoc IDatasetRegistry
    function frozenBy(bytes32 dataset, bytes32 by) external view returns (bool) {
        return _frozenBy[dataset][by];
    }

    /// @inheritdoc IDatasetRegistry
    function versionAt(bytes32 dataset, uint32 version) external view returns (VersionRecord memory) {
        if (version == 0 || version > _versions[dataset].length) revert VersionUnknown(dataset, version);
        return _versions[dataset][version - 1];
    }

    /// @inheritdoc IDatasetRegistry
    function versionsOf(bytes32 dataset) external view returns (VersionRecord[] memory) {
        return _versions[dataset];
    }

    /// @inheritdoc IDatasetRegistry
    function nonceOf(bytes32 party) external view returns (uint64) {
        return _nonces[party];
    }

    function _checkAction(Action calldata action, uint8 verb, bytes calldata signature) private {
        if (action.verb != verb) revert VerbInvalid(action.verb);
        bytes32 owner = _datasets[action.subject].owner;
        if (owner == bytes32(0)) revert DatasetUnknown(action.subject);
        if (action.party != owner && PARTIES.rolesOf(action.party) & Roles.REGULATOR == 0) {
            revert NotOwnerOrRegulator(action.subject, action.party);
        }
        uint64 nonce = _nonces[action.party];
        if (action.nonce != nonce) revert NonceInvalid(action.party, nonce, action.nonce);
        _requireParty(action.party, 0, Structs.hash(action), signature);
        _nonces[action.party] = nonce + 1;
    }
}
