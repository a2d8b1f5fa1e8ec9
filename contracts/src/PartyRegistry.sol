// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Ownable, Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";

import {NodeKey, Action} from "./interfaces/ILiutongTypes.sol";
import {IPartyRegistry} from "./interfaces/IPartyRegistry.sol";
import {Roles, Verbs} from "./Codes.sol";
import {Structs} from "./Structs.sol";

/// @title PartyRegistry
contract PartyRegistry is IPartyRegistry, Ownable2Step, EIP712 {
    struct Party {
        uint32 roles;
        uint32 suspensions;
        uint64 nonce;
    }

    // Who suspended: the operator has no party id of its own here.
    bytes32 private constant OPERATOR = bytes32(0);

    mapping(bytes32 party => Party) private _parties;
    mapping(bytes32 party => KeyRecord[]) private _keys;
    mapping(address key => bytes32 party) private _partyOf;
    mapping(bytes32 party => mapping(bytes32 by => bool)) private _suspendedBy;

    constructor(address operator) Ownable(operator) EIP712("Liutong", "1") {}

    /// @inheritdoc IPartyRegistry
    function enrol(bytes32 party, uint32 roles, NodeKey calldata key, bytes calldata signature) external onlyOwner {
        if (party == bytes32(0) || key.party != party) revert PartyUnknown(key.party);
        if (_keys[party].length != 0) revert PartyExists(party);
        if (roles == 0 || roles & ~Roles.ALL != 0) revert RolesInvalid(roles);
        if (key.index != 0) revert KeyOutOfOrder(party, 0, key.index);
        _requirePossession(key, signature);
        _parties[party].roles = roles;
        _append(key);
        emit PartyEnrolled(party, roles, key.key);
    }

    /// @inheritdoc IPartyRegistry
    function addRoles(bytes32 party, uint32 roles) external onlyOwner {
        _requireKnown(party);
        if (roles == 0 || roles & ~Roles.ALL != 0) revert RolesInvalid(roles);
        _parties[party].roles |= roles;
        emit RolesAdded(party, roles);
    }

    /// @inheritdoc IPartyRegistry
    function rotate(NodeKey calldata next, bytes calldata signatureOld, bytes calldata signatureNew) external {
        bytes32 party = next.party;
        _requireKnown(party);
        // A stolen key must not outrun the suspension that answers the theft.
        if (isSuspended(party)) revert PartySuspended(party);
        uint64 count = keyCount(party);
        if (next.index != count) revert KeyOutOfOrder(party, count, next.index);
        _requireSigner(party, Structs.hash(next), signatureOld);
        _requirePossession(next, signatureNew);
        _keys[party][count - 1].validUntil = uint64(block.timestamp);
        _append(next);
    }

    /// @inheritdoc IPartyRegistry
    function suspend(bytes32 party) external onlyOwner {
        _suspend(party, OPERATOR);
    }

    /// @inheritdoc IPartyRegistry
    function reinstate(bytes32 party) external onlyOwner {
        _reinstate(party, OPERATOR);
    }

    /// @inheritdoc IPartyRegistry
    function act(Action calldata action, bytes calldata signature) external {
        bytes32 by = action.party;
        _requireKnown(by);
        Party storage actor = _parties[by];
        if (actor.roles & Roles.REGULATOR == 0) revert RoleMissing(by, Roles.REGULATOR);
        // A party that was suspended before it became a regulator.
        if (isSuspended(by)) revert PartySuspended(by);
        if (action.nonce != actor.nonce) revert NonceInvalid(by, actor.nonce, action.nonce);
        _requireSigner(by, Structs.hash(action), signature);
        actor.nonce += 1;
        if (action.verb == Verbs.SUSPEND) _suspend(action.subject, by);
        else if (action.verb == Verbs.REINSTATE) _reinstate(action.subject, by);
        else revert VerbInvalid(action.verb);
    }

    /// @inheritdoc IPartyRegistry
    function standing(bytes32 party) external view returns (address key, uint32 roles, bool suspended) {
        Party storage record = _parties[party];
        return (activeKey(party), record.roles, record.suspensions != 0);
    }

    /// @inheritdoc IPartyRegistry
    function activeKey(bytes32 party) public view returns (address) {
        uint256 count = _keys[party].length;
        return count == 0 ? address(0) : _keys[party][count - 1].key;
    }

    /// @inheritdoc IPartyRegistry
    function isActiveKey(bytes32 party, address key) external view returns (bool) {
        return key != address(0) && key == activeKey(party) && !isSuspended(party);
    }

    /// @inheritdoc IPartyRegistry
    function rolesOf(bytes32 party) external view returns (uint32) {
        return _parties[party].roles;
    }

    /// @inheritdoc IPartyRegistry
    function isSuspended(bytes32 party) public view returns (bool) {
        return _parties[party].suspensions != 0;
    }

    /// @inheritdoc IPartyRegistry
    function suspendedBy(bytes32 party, bytes32 by) external view returns (bool) {
        return _suspendedBy[party][by];
    }

    /// @inheritdoc IPartyRegistry
    function keyCount(bytes32 party) public view returns (uint64) {
        return uint64(_keys[party].length);
    }

    /// @inheritdoc IPartyRegistry
    function keyAt(bytes32 party, uint64 index) external view returns (KeyRecord memory) {
        uint64 count = keyCount(party);
        if (index >= count) revert KeyOutOfOrder(party, count, index);
        return _keys[party][index];
    }

    /// @inheritdoc IPartyRegistry
    function keysOf(bytes32 party) external view returns (KeyRecord[] memory) {
        return _keys[party];
    }

    /// @inheritdoc IPartyRegistry
    function partyOf(address key) external view returns (bytes32) {
        return _partyOf[key];
    }

    /// @inheritdoc IPartyRegistry
    function nonceOf(bytes32 party) external view returns (uint64) {
        return _parties[party].nonce;
    }

    function _append(NodeKey calldata key) private {
        _partyOf[key.key] = key.party;
        _keys[key.party].push(
            KeyRecord({
                key: key.key,
                validFrom: uint64(block.timestamp),
                validUntil: 0,
                boxKey: key.boxKey,
                heKeyDigest: key.heKeyDigest
            })
        );
        emit KeyChanged(key.party, key.index, key.key, key.boxKey, key.heKeyDigest);
    }

    function _suspend(bytes32 party, bytes32 by) private {
        _requireKnown(party);
        // Whoever runs the portal must not be able to silence its watchdog.
        if (_parties[party].roles & Roles.REGULATOR != 0) revert RegulatorNotSuspendable(party);
        if (_suspendedBy[party][by]) revert SuspensionUnchanged(party, by);
        _suspendedBy[party][by] = true;
        _parties[party].suspensions += 1;
        emit SuspensionLaid(party, by);
    }

    function _reinstate(bytes32 party, bytes32 by) private {
        if (!_suspendedBy[party][by]) revert SuspensionUnchanged(party, by);
        _suspendedBy[party][by] = false;
        _parties[party].suspensions -= 1;
        emit SuspensionLifted(party, by);
    }

    function _requireKnown(bytes32 party) private view {
        if (_keys[party].length == 0) revert PartyUnknown(party);
    }

    function _requirePossession(NodeKey calldata key, bytes calldata signature) private view {
        if (_partyOf[key.key] != bytes32(0)) revert KeyTaken(key.key, _partyOf[key.key]);
        address signer = _signer(Structs.hash(key), signature);
        if (key.key == address(0) || signer != key.key) revert KeyUnproven(key.key, signer);
    }

    function _requireSigner(bytes32 party, bytes32 structHash, bytes calldata signature) private view {
        address signer = _signer(structHash, signature);
        if (signer == address(0) || signer != activeKey(party)) revert NotPartyKey(party, signer);
    }

    /// A malformed or malleable signature gives the zero address.
    function _signer(bytes32 structHash, bytes calldata signature) private view returns (address signer) {
        (signer,,) = ECDSA.tryRecover(_hashTypedDataV4(structHash), signature);
    }
}
