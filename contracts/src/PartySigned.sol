// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";

import {IPartyErrors} from "./interfaces/IPartyErrors.sol";
import {IPartyRegistry} from "./interfaces/IPartyRegistry.sol";

/// @title Base of contracts that act on what a party signed, whoever relays it
abstract contract PartySigned is IPartyErrors, EIP712 {
    IPartyRegistry public immutable PARTIES;

    constructor(IPartyRegistry parties) EIP712("Liutong", "1") {
        PARTIES = parties;
    }

    /// The party is known, not suspended, has every role in `role`, and its current key signed.
    function _requireParty(bytes32 party, uint32 role, bytes32 structHash, bytes calldata signature) internal view {
        (address key, uint32 roles, bool suspended) = PARTIES.standing(party);
        if (suspended) revert PartySuspended(party);
        if (roles & role != role) revert RoleMissing(party, role);
        _requireKey(party, key, structHash, signature);
    }

    /// The party's current key signed, suspended or not.
    function _requireKey(bytes32 party, address key, bytes32 structHash, bytes calldata signature) internal view {
        (address signer,,) = ECDSA.tryRecover(_hashTypedDataV4(structHash), signature);
        // A malformed or malleable signature gives the zero address, and so does the key of an unknown party.
        if (signer == address(0) || signer != key) revert NotPartyKey(party, signer);
    }
}
