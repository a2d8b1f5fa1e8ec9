// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {NodeKey, Action} from "./ILiutongTypes.sol";
import {IPartyErrors} from "./IPartyErrors.sol";

/// @title Parties, their roles, and an append-only history of their keys
/// @notice The operator admits and suspends parties. It can never replace a party's key: only the current key
/// hands over to the next one. A party whose key is lost or stolen is suspended and enrols under a new id.
interface IPartyRegistry is IPartyErrors {
    /// One key of a party. `validUntil` is zero while the key is the current one.
    struct KeyRecord {
        address key;
        uint64 validFrom;
        uint64 validUntil;
        bytes32 boxKey;
        bytes32 heKeyDigest;
    }

    event PartyEnrolled(bytes32 indexed party, uint32 roles, address key);
    event RolesAdded(bytes32 indexed party, uint32 roles);
    event KeyChanged(bytes32 indexed party, uint64 index, address key, bytes32 boxKey, bytes32 heKeyDigest);
    /// @param by the regulator's party id, or zero for the operator
    event SuspensionLaid(bytes32 indexed party, bytes32 indexed by);
    event SuspensionLifted(bytes32 indexed party, bytes32 indexed by);

    error PartyExists(bytes32 party);
    error PartyUnknown(bytes32 party);
    error RegulatorNotSuspendable(bytes32 party);
    error SuspensionUnchanged(bytes32 party, bytes32 by);
    error KeyTaken(address key, bytes32 party);
    error KeyOutOfOrder(bytes32 party, uint64 expected, uint64 given);
    error KeyUnproven(address key, address signer);
    error RolesInvalid(uint32 roles);

    /// @notice Admits a party. Only the operator.
    /// @param roles bit mask: 1 provider, 2 consumer, 4 regulator, 8 operator
    /// @param key the first key; its index is 0
    /// @param signature `key` signed by `key.key` itself: nobody enrols a key they do not hold
    function enrol(bytes32 party, uint32 roles, NodeKey calldata key, bytes calldata signature) external;

    /// @notice Gives a party further roles. Only the operator; roles are never taken away.
    function addRoles(bytes32 party, uint32 roles) external;

    /// @notice Replaces a party's key. Anyone may relay it; a suspended party cannot.
    /// @param signatureOld `next` signed by the current key
    /// @param signatureNew `next` signed by the new key
    function rotate(NodeKey calldata next, bytes calldata signatureOld, bytes calldata signatureNew) external;

    /// @notice Suspends a party on the operator's behalf. A regulator cannot be suspended.
    function suspend(bytes32 party) external;

    /// @notice Lifts the operator's suspension, not a regulator's.
    function reinstate(bytes32 party) external;

    /// @notice Suspends (verb 3) or reinstates (verb 4) `action.subject` on a regulator's signed word.
    /// Each regulator lifts only its own suspension. Anyone may relay it.
    function act(Action calldata action, bytes calldata signature) external;

    /// @notice What the other contracts ask before they believe a signature.
    /// @return key the current key, zero for an unknown party
    function standing(bytes32 party) external view returns (address key, uint32 roles, bool suspended);

    function activeKey(bytes32 party) external view returns (address);

    /// @return true if `key` is the party's current key and the party is not suspended
    function isActiveKey(bytes32 party, address key) external view returns (bool);

    function rolesOf(bytes32 party) external view returns (uint32);

    function isSuspended(bytes32 party) external view returns (bool);

    function suspendedBy(bytes32 party, bytes32 by) external view returns (bool);

    function keyCount(bytes32 party) external view returns (uint64);

    function keyAt(bytes32 party, uint64 index) external view returns (KeyRecord memory);

    /// @notice Every key of a party, oldest first.
    function keysOf(bytes32 party) external view returns (KeyRecord[] memory);

    /// @return the party that ever used this key, zero if none
    function partyOf(address key) external view returns (bytes32);

    /// @return the nonce that the party's next `Action` must carry here
    function nonceOf(bytes32 party) external view returns (uint64);
}
