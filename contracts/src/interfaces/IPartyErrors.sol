// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// @title What is wrong with a party or its signature: the same errors in every contract
interface IPartyErrors {
    /// The party may not act, nor be relied upon, until every suspension is lifted.
    error PartySuspended(bytes32 party);
    /// `signer` is zero for a malformed or malleable signature.
    error NotPartyKey(bytes32 party, address signer);
    error RoleMissing(bytes32 party, uint32 role);
    error VerbInvalid(uint8 verb);
    error NonceInvalid(bytes32 party, uint64 expected, uint64 given);
}
