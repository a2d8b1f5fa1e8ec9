// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// @title Which contract is current under a name
/// @notice A first entry takes effect at once; a replacement waits for the timelock, so that nodes see it coming.
/// Earlier entries stay readable: evidence of an old contract stays valid.
interface IAddressBook {
    struct Entry {
        address target;
        uint64 since;
        bytes32 codeHash;
    }

    struct Proposal {
        address target;
        uint64 acceptableAt;
    }

    event EntrySet(bytes32 indexed name, uint256 index, address target, bytes32 codeHash);
    event ReplacementProposed(bytes32 indexed name, address target, uint64 acceptableAt);
    event ReplacementCancelled(bytes32 indexed name, address target);

    error NameUnknown(bytes32 name);
    error NameTaken(bytes32 name);
    error NotContract(address target);
    error ReplacementMissing(bytes32 name);
    error TimelockRunning(bytes32 name, uint64 acceptableAt);

    /// @notice Names a contract for the first time. Only the operator.
    /// @param name ASCII, right-padded with zeros
    function set(bytes32 name, address target) external;

    /// @notice Announces a replacement. Only the operator. A second proposal restarts the timelock.
    function propose(bytes32 name, address target) external;

    /// @notice Puts the announced replacement into effect. Only the operator, after the timelock.
    function accept(bytes32 name) external;

    /// @notice Withdraws an announced replacement. Only the operator.
    function cancel(bytes32 name) external;

    function timelockS() external view returns (uint64);

    /// @return the current entry; reverts for an unknown name
    function current(bytes32 name) external view returns (Entry memory);

    /// @return every entry ever current under the name, oldest first
    function historyOf(bytes32 name) external view returns (Entry[] memory);

    function proposalOf(bytes32 name) external view returns (Proposal memory);
}
