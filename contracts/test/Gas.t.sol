// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {DatasetVersion, Grant, JobRequest, NodeKey, Receipt} from "../src/interfaces/ILiutongTypes.sol";
import {Roles} from "../src/Codes.sol";
import {Fixture} from "./Fixture.sol";

/// Gas of each call, kept in contracts/test/gas and compared by `FORGE_SNAPSHOT_CHECK=true forge test`.
contract GasTest is Fixture {
    function snapshot(string memory name) private {
        vm.snapshotGasLastCall("calls", name);
    }

    function batch(uint64 count) private returns (Receipt[] memory receipts) {
        bytes32 grant = activated(1000);
        receipts = new Receipt[](count);
        for (uint64 i = 0; i < count; ++i) {
            receipts[i] = newReceipt(reserved(grant, i + 1), grant, i);
            receipts[i].sequence = i + 1;
            if (i > 0) receipts[i].previous = hasher.receipt(receipts[i - 1]);
        }
    }

    function test_gas_enrol() public {
        NodeKey memory key = nodeKey(keccak256("x"), STRANGER_KEY, 0);
        bytes memory signature = sign(address(parties), hasher.nodeKey(key), STRANGER_KEY);
        parties.enrol(keccak256("x"), Roles.CONSUMER, key, signature);
        snapshot("enrol");
    }

    function test_gas_register() public {
        DatasetVersion memory value = version(keccak256("y"), PROVIDER, 1);
        bytes memory signature = sign(address(datasets), hasher.datasetVersion(value), PROVIDER_KEY);
        datasets.register(value, signature);
        snapshot("register");
    }

    function test_gas_activate() public {
        Grant memory grant = newGrant(10, keccak256("terms"));
        bytes memory signature = sign(address(ledger), hasher.grant(grant), PROVIDER_KEY);
        ledger.activate(grant, signature);
        snapshot("activate");
    }

    function test_gas_reserve() public {
        JobRequest memory request = newRequest(activated(10), 5, 0, 1);
        bytes memory signature = sign(address(ledger), hasher.jobRequest(request), CONSUMER_KEY);
        ledger.reserve(request, signature);
        snapshot("reserve one line");
    }

    function test_gas_commit1() public {
        Receipt[] memory receipts = batch(1);
        bytes memory signature = sign(address(ledger), batchHash(receipts), PROVIDER_KEY);
        ledger.commit(receipts, signature);
        snapshot("commit 1 receipt");
    }

    function test_gas_commit40() public {
        Receipt[] memory receipts = batch(40);
        bytes memory signature = sign(address(ledger), batchHash(receipts), PROVIDER_KEY);
        ledger.commit(receipts, signature);
        snapshot("commit 40 receipts");
    }

    function test_gas_release() public {
        bytes32 grant = activated(10);
        bytes32 job = reserved(grant, 5);
        vm.warp(START + 1 hours + GRACE_S);
        ledger.release(job, grant);
        snapshot("release");
    }
}
