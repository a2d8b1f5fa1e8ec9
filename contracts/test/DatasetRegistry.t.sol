// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Action, DatasetVersion} from "../src/interfaces/ILiutongTypes.sol";
import {IDatasetRegistry} from "../src/interfaces/IDatasetRegistry.sol";
import {IPartyErrors} from "../src/interfaces/IPartyErrors.sol";
import {Roles} from "../src/Codes.sol";
import {Fixture} from "./Fixture.sol";

contract DatasetRegistryTest is Fixture {
    bytes32 private constant OTHER = keccak256("other provider");
    uint256 private constant OTHER_KEY = 0x07E4;

    function freeze(bytes32 party, uint256 key, uint64 nonce) private {
        Action memory action = act(party, DATASET, 1, nonce);
        datasets.freeze(action, sign(address(datasets), hasher.action(action), key));
    }

    function unfreeze(bytes32 party, uint256 key, uint64 nonce) private {
        Action memory action = act(party, DATASET, 2, nonce);
        datasets.unfreeze(action, sign(address(datasets), hasher.action(action), key));
    }

    function test_register_countsVersions() public {
        register(DATASET, PROVIDER, PROVIDER_KEY, 2);
        (bytes32 owner, uint32 latest, bool frozen) = datasets.standing(DATASET);
        assertEq(owner, PROVIDER, "owner");
        assertEq(latest, 2, "latest");
        assertTrue(!frozen, "frozen");
        assertEq(datasets.versionAt(DATASET, 2).commitment, keccak256("rows"), "commitment");
        vm.expectRevert(abi.encodeWithSelector(IDatasetRegistry.VersionUnknown.selector, DATASET, uint32(3)));
        datasets.versionAt(DATASET, 3);
    }

    function test_register_revertsOnAGapOrReplay() public {
        DatasetVersion memory value = version(DATASET, PROVIDER, 1);
        bytes memory signature = sign(address(datasets), hasher.datasetVersion(value), PROVIDER_KEY);
        vm.expectRevert(
            abi.encodeWithSelector(IDatasetRegistry.VersionOutOfOrder.selector, DATASET, uint32(2), uint32(1))
        );
        datasets.register(value, signature);
    }

    function test_register_revertsForAnotherOwner() public {
        enrol(OTHER, Roles.PROVIDER, OTHER_KEY);
        DatasetVersion memory value = version(DATASET, OTHER, 2);
        bytes memory signature = sign(address(datasets), hasher.datasetVersion(value), OTHER_KEY);
        vm.expectRevert(abi.encodeWithSelector(IDatasetRegistry.DatasetOwned.selector, DATASET, PROVIDER));
        datasets.register(value, signature);
    }

    function test_register_revertsWithoutTheProvidersKeyRoleOrStanding() public {
        DatasetVersion memory value = version(DATASET, PROVIDER, 2);
        bytes memory signature = sign(address(datasets), hasher.datasetVersion(value), STRANGER_KEY);
        vm.expectRevert(
            abi.encodeWithSelector(IPartyErrors.NotPartyKey.selector, PROVIDER, vm.addr(STRANGER_KEY))
        );
        datasets.register(value, signature);

        value = version(keccak256("y"), CONSUMER, 1);
        signature = sign(address(datasets), hasher.datasetVersion(value), CONSUMER_KEY);
        vm.expectRevert(abi.encodeWithSelector(IPartyErrors.RoleMissing.selector, CONSUMER, Roles.PROVIDER));
        datasets.register(value, signature);

        parties.suspend(PROVIDER);
        value = version(DATASET, PROVIDER, 2);
        signature = sign(address(datasets), hasher.datasetVersion(value), PROVIDER_KEY);
        vm.expectRevert(abi.encodeWithSelector(IPartyErrors.PartySuspended.selector, PROVIDER));
        datasets.register(value, signature);
    }

    function test_register_revertsForWrongKindOrNoCommitment() public {
        DatasetVersion memory value = version(DATASET, PROVIDER, 2);
        value.kind = 2;
        bytes memory signature = sign(address(datasets), hasher.datasetVersion(value), PROVIDER_KEY);
        vm.expectRevert(abi.encodeWithSelector(IDatasetRegistry.KindChanged.selector, DATASET, uint8(2)));
        datasets.register(value, signature);
        value.kind = 3;
        vm.expectRevert(abi.encodeWithSelector(IDatasetRegistry.KindInvalid.selector, uint8(3)));
        datasets.register(value, signature);
        value.kind = 1;
        value.commitment = bytes32(0);
        vm.expectRevert(abi.encodeWithSelector(IDatasetRegistry.CommitmentMissing.selector, DATASET));
        datasets.register(value, signature);
    }

    function test_freeze_eachLiftsOnlyItsOwn() public {
        freeze(PROVIDER, PROVIDER_KEY, 0);
        freeze(REGULATOR, REGULATOR_KEY, 0);
        unfreeze(PROVIDER, PROVIDER_KEY, 1);
        assertTrue(datasets.isFrozen(DATASET), "the regulator's freeze stays");
        assertTrue(datasets.frozenBy(DATASET, REGULATOR), "by the regulator");
        Action memory action = act(PROVIDER, DATASET, 2, 2);
        bytes memory signature = sign(address(datasets), hasher.action(action), PROVIDER_KEY);
        vm.expectRevert(abi.encodeWithSelector(IDatasetRegistry.FreezeUnchanged.selector, DATASET, PROVIDER));
        datasets.unfreeze(action, signature);
        unfreeze(REGULATOR, REGULATOR_KEY, 1);
        assertTrue(!datasets.isFrozen(DATASET), "lifted");
    }

    function test_freeze_revertsForOthersReplaysAndWrongVerbs() public {
        Action memory action = act(CONSUMER, DATASET, 1, 0);
        bytes memory signature = sign(address(datasets), hasher.action(action), CONSUMER_KEY);
        vm.expectRevert(
            abi.encodeWithSelector(IDatasetRegistry.NotOwnerOrRegulator.selector, DATASET, CONSUMER)
        );
        datasets.freeze(action, signature);

        action = act(REGULATOR, DATASET, 1, 0);
        signature = sign(address(datasets), hasher.action(action), REGULATOR_KEY);
        vm.expectRevert(abi.encodeWithSelector(IPartyErrors.VerbInvalid.selector, uint8(1)));
        datasets.unfreeze(action, signature);
        datasets.freeze(action, signature);
        vm.expectRevert(
            abi.encodeWithSelector(IPartyErrors.NonceInvalid.selector, REGULATOR, uint64(1), uint64(0))
        );
        datasets.freeze(action, signature);

        action = act(REGULATOR, keccak256("none"), 1, 1);
        vm.expectRevert(abi.encodeWithSelector(IDatasetRegistry.DatasetUnknown.selector, keccak256("none")));
        datasets.freeze(action, signature);
    }

    function test_signatureForAnotherContractIsRefused() public {
        DatasetVersion memory value = version(DATASET, PROVIDER, 2);
        bytes memory signature = sign(address(ledger), hasher.datasetVersion(value), PROVIDER_KEY);
        vm.expectPartialRevert(IPartyErrors.NotPartyKey.selector);
        datasets.register(value, signature);
    }
}
