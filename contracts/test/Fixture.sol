// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {
    NodeKey,
    DatasetVersion,
    Grant,
    Revocation,
    Line,
    JobRequest,
    Receipt,
    Batch,
    Action
} from "../src/interfaces/ILiutongTypes.sol";
import {DatasetRegistry} from "../src/DatasetRegistry.sol";
import {MerkleRoot} from "../src/MerkleRoot.sol";
import {PartyRegistry} from "../src/PartyRegistry.sol";
import {Roles} from "../src/Codes.sol";
import {Structs} from "../src/Structs.sol";
import {IUsageLedger} from "../src/interfaces/IUsageLedger.sol";
import {UsageLedger} from "../src/UsageLedger.sol";
import {Test} from "./Test.sol";

/// Struct hashes of values in memory: the contracts' own functions take calldata.
contract Hasher {
    function nodeKey(NodeKey calldata value) external pure returns (bytes32) {
        return Structs.hash(value);
    }

    function datasetVersion(DatasetVersion calldata value) external pure returns (bytes32) {
        return Structs.hash(value);
    }

    function grant(Grant calldata value) external pure returns (bytes32) {
        return Structs.hash(value);
    }

    function revocation(Revocation calldata value) external pure returns (bytes32) {
        return Structs.hash(value);
    }

    function jobRequest(JobRequest calldata value) external pure returns (bytes32) {
        return Structs.hash(value);
    }

    function receipt(Receipt calldata value) external pure returns (bytes32) {
        return Structs.hash(value);
    }

    function action(Action calldata value) external pure returns (bytes32) {
        return Structs.hash(value);
    }
}

/// The deployed contracts, a provider with a dataset, a consumer, a regulator, and their signatures.
abstract contract Fixture is Test {
    uint64 internal constant GRACE_S = 600;
    uint64 internal constant START = 1_800_000_000;

    uint256 internal constant PROVIDER_KEY = 0xA11CE;
    uint256 internal constant CONSUMER_KEY = 0xB0B;
    uint256 internal constant REGULATOR_KEY = 0x4E6;
    uint256 internal constant STRANGER_KEY = 0xBAD;

    bytes32 internal constant PROVIDER = keccak256("provider");
    bytes32 internal constant CONSUMER = keccak256("consumer");
    bytes32 internal constant REGULATOR = keccak256("regulator");
    bytes32 internal constant DATASET = keccak256("dataset");
    bytes32 internal constant SPEC = keccak256("spec");

    Hasher internal hasher;
    PartyRegistry internal parties;
    DatasetRegistry internal datasets;
    UsageLedger internal ledger;

    function setUp() public virtual {
        vm.warp(START);
        hasher = new Hasher();
        parties = new PartyRegistry(address(this));
        datasets = new DatasetRegistry(parties);
        ledger = new UsageLedger(parties, datasets, GRACE_S);
        enrol(PROVIDER, Roles.PROVIDER, PROVIDER_KEY);
        enrol(CONSUMER, Roles.CONSUMER, CONSUMER_KEY);
        enrol(REGULATOR, Roles.REGULATOR, REGULATOR_KEY);
        register(DATASET, PROVIDER, PROVIDER_KEY, 1);
    }

    function separator(address target) internal view returns (bytes32) {
        return keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("Liutong"),
                keccak256("1"),
                block.chainid,
                target
            )
        );
    }

    function sign(address target, bytes32 structHash, uint256 key) internal view returns (bytes memory) {
        bytes32 digest = keccak256(abi.encodePacked("\x19\x01", separator(target), structHash));
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        return abi.encodePacked(r, s, v);
    }

    function nodeKey(bytes32 party, uint256 key, uint64 index) internal pure returns (NodeKey memory) {
        return NodeKey(party, vm.addr(key), keccak256("box"), keccak256("he"), index);
    }

    function enrol(bytes32 party, uint32 roles, uint256 key) internal {
        NodeKey memory record = nodeKey(party, key, 0);
        parties.enrol(party, roles, record, sign(address(parties), hasher.nodeKey(record), key));
    }

    function version(bytes32 dataset, bytes32 provider, uint32 number)
        internal
        pure
        returns (DatasetVersion memory)
    {
        return DatasetVersion(dataset, provider, number, 1, keccak256("rows"), keccak256("schema"));
    }

    function register(bytes32 dataset, bytes32 provider, uint256 key, uint32 number) internal {
        DatasetVersion memory value = version(dataset, provider, number);
        datasets.register(value, sign(address(datasets), hasher.datasetVersion(value), key));
    }

    function newGrant(uint64 quota, bytes32 terms) internal view returns (Grant memory) {
        return Grant({
            provider: PROVIDER,
            consumer: CONSUMER,
            dataset: DATASET,
            termsHash: terms,
            operations: 31,
            quota: quota,
            epsilonMicro: 1_000_000,
            notBefore: uint64(block.timestamp),
            expiry: uint64(block.timestamp) + 30 days
        });
    }

    function activate(Grant memory grant) internal returns (bytes32) {
        return ledger.activate(grant, sign(address(ledger), hasher.grant(grant), PROVIDER_KEY));
    }

    function activated(uint64 quota) internal returns (bytes32) {
        return activate(newGrant(quota, keccak256("terms")));
    }

    function revoke(bytes32 grant, uint256 key) internal {
        Revocation memory value = Revocation(grant);
        ledger.revoke(value, sign(address(ledger), hasher.revocation(value), key));
    }

    function newRequest(bytes32 grant, uint64 units, uint64 epsilonMicro, uint256 nonce)
        internal
        view
        returns (JobRequest memory request)
    {
        request.consumer = CONSUMER;
        request.specHash = SPEC;
        request.nonce = bytes32(nonce);
        request.deadline = uint64(block.timestamp) + 1 hours;
        request.lines = new Line[](1);
        request.lines[0] = Line(grant, units, epsilonMicro);
    }

    function reserve(JobRequest memory request) internal returns (bytes32) {
        return ledger.reserve(request, sign(address(ledger), hasher.jobRequest(request), CONSUMER_KEY));
    }

    function reserved(bytes32 grant, uint64 units) internal returns (bytes32) {
        return reserve(newRequest(grant, units, 0, uint256(keccak256(abi.encode(grant, units)))));
    }

    /// The node's next receipt.
    function newReceipt(bytes32 job, bytes32 grant, uint64 units) internal view returns (Receipt memory) {
        IUsageLedger.NodeTip memory tip = ledger.tipOf(PROVIDER);
        return Receipt({
            node: PROVIDER,
            sequence: tip.sequence + 1,
            previous: tip.digest,
            job: job,
            grant: grant,
            specHash: SPEC,
            commitment: keccak256("rows"),
            transcript: keccak256("transcript"),
            units: units,
            epsilonMicro: 0,
            outcome: 1,
            settles: true,
            issuedAt: uint64(block.timestamp),
            detail: keccak256("detail")
        });
    }

    function batchHash(Receipt[] memory receipts) internal view returns (bytes32) {
        bytes32[] memory leaves = new bytes32[](receipts.length);
        for (uint256 i = 0; i < leaves.length; ++i) {
            leaves[i] = MerkleRoot.leaf(hasher.receipt(receipts[i]));
        }
        bytes32 root = MerkleRoot.compute(leaves);
        return Structs.hash(
            Batch(receipts[0].node, receipts[0].sequence, uint32(receipts.length), root)
        );
    }

    function commit(Receipt[] memory receipts) internal {
        ledger.commit(receipts, sign(address(ledger), batchHash(receipts), PROVIDER_KEY));
    }

    function commit(Receipt memory receipt) internal {
        Receipt[] memory receipts = new Receipt[](1);
        receipts[0] = receipt;
        commit(receipts);
    }

    function act(bytes32 party, bytes32 subject, uint8 verb, uint64 nonce) internal pure returns (Action memory) {
        return Action(party, subject, verb, nonce);
    }
}
