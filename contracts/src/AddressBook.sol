// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Ownable, Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";

import {IAddressBook} from "./interfaces/IAddressBook.sol";

/// @title AddressBook
contract AddressBook is IAddressBook, Ownable2Step {
    /// @inheritdoc IAddressBook
    uint64 public immutable timelockS;

    mapping(bytes32 name => Entry[]) private _history;
    mapping(bytes32 name => Proposal) private _proposals;

    constructor(address operator, uint64 delayS) Ownable(operator) {
        timelockS = delayS;
    }

    /// @inheritdoc IAddressBook
    function set(bytes32 name, address target) external onlyOwner {
        if (_history[name].length != 0) revert NameTaken(name);
        if (name == bytes32(0)) revert NameUnknown(name);
        _append(name, target);
    }

    /// @inheritdoc IAddressBook
    function propose(bytes32 name, address target) external onlyOwner {
        if (_history[name].length == 0) revert NameUnknown(name);
        if (target.code.length == 0) revert NotContract(target);
        uint64 acceptableAt = uint64(block.timestamp) + timelockS;
        _proposals[name] = Proposal({target: target, acceptableAt: acceptableAt});
        emit ReplacementProposed(name, target, acceptableAt);
    }

    /// @inheritdoc IAddressBook
    function accept(bytes32 name) external onlyOwner {
        Proposal memory proposal = _proposals[name];
        if (proposal.target == address(0)) revert ReplacementMissing(name);
        if (block.timestamp < proposal.acceptableAt) revert TimelockRunning(name, proposal.acceptableAt);
        delete _proposals[name];
        _append(name, proposal.target);
    }

    /// @inheritdoc IAddressBook
    function cancel(bytes32 name) external onlyOwner {
        address target = _proposals[name].target;
        if (target == address(0)) revert ReplacementMissing(name);
        delete _proposals[name];
        emit ReplacementCancelled(name, target);
    }

    /// @inheritdoc IAddressBook
    function current(bytes32 name) external view returns (Entry memory) {
        uint256 count = _history[name].length;
        if (count == 0) revert NameUnknown(name);
        return _history[name][count - 1];
    }

    /// @inheritdoc IAddressBook
    function historyOf(bytes32 name) external view returns (Entry[] memory) {
        return _history[name];
    }

    /// @inheritdoc IAddressBook
    function proposalOf(bytes32 name) external view returns (Proposal memory) {
        return _proposals[name];
    }

    function _append(bytes32 name, address target) private {
        if (target.code.length == 0) revert NotContract(target);
        _history[name].push(
            Entry({target: target, since: uint64(block.timestamp), codeHash: target.codehash})
        );
        emit EntrySet(name, _history[name].length - 1, target, target.codehash);
    }
}
