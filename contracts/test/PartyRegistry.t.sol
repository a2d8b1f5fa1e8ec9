// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";

import {Action, NodeKey} from "../src/interfaces/ILiutongTypes.sol";
import {IPartyErrors} from "../src/interfaces/IPartyErrors.sol";
import {IPartyRegistry} from "../src/interfaces/IPartyRegistry.sol";
import {Roles} from "../src/Codes.sol";
import {Fixture} from "./Fixture.sol";

contract PartyRegistryTest is Fixture {
    uint256 private constant NEW_KEY = 0x2EED;

    function rotate(uint256 oldKey, uint256 newKey, uint64 index) private {
        NodeKey memory next = nodeKey(PROVIDER, newKey, index);
        bytes32 structHash = hasher.nodeKey(next);
        parties.rotate(next, sign(address(parties), structHash, oldKey), sign(address(parties), structHash, newKey));
    }

    function actAs(uint256 key, bytes32 party, bytes32 subject, uint8 verb, uint64 nonce) private {
        Action memory action = act(party, subject, verb, nonce);
        parties.act(action, sign(address(parties), hasher.action(action), key));
    }

    function test_enrol_recordsKeyAndRoles() public view {
        (address key, uint32 roles, bool suspended) = parties.standing(PROVIDER);
        assertEq(key, vm.addr(PROVIDER_KEY), "key");
        assertEq(roles, Roles.PROVIDER, "roles");
        assertTrue(!suspended, "not suspended");
        assertTrue(parties.isActiveKey(PROVIDER, vm.addr(PROVIDER_KEY)), "active");
        assertEq(parties.partyOf(vm.addr(PROVIDER_KEY)), PROVIDER, "party of key");
    }

    function test_enrol_revertsForAnyoneButTheOperator() public {
        NodeKey memory key = nodeKey(keccak256("x"), NEW_KEY, 0);
        bytes memory signature = sign(address(parties), hasher.nodeKey(key), NEW_KEY);
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, address(0xE)));
        vm.prank(address(0xE));
        parties.enrol(keccak256("x"), Roles.CONSUMER, key, signature);
    }

    function test_enrol_revertsWithoutProofOfPossession() public {
        NodeKey memory key = nodeKey(keccak256("x"), NEW_KEY, 0);
        bytes memory signature = sign(address(parties), hasher.nodeKey(key), STRANGER_KEY);
        vm.expectRevert(
            abi.encodeWithSelector(IPartyRegistry.KeyUnproven.selector, vm.addr(NEW_KEY), vm.addr(STRANGER_KEY))
        );
        parties.enrol(keccak256("x"), Roles.CONSUMER, key, signature);
    }

    function test_enrol_revertsTwice() public {
        NodeKey memory key = nodeKey(PROVIDER, NEW_KEY, 0);
        bytes memory signature = sign(address(parties), hasher.nodeKey(key), NEW_KEY);
        vm.expectRevert(abi.encodeWithSelector(IPartyRegistry.PartyExists.selector, PROVIDER));
        parties.enrol(PROVIDER, Roles.CONSUMER, key, signature);
    }

    function test_enrol_revertsForAKeyInUse() public {
        NodeKey memory key = nodeKey(keccak256("x"), PROVIDER_KEY, 0);
        bytes memory signature = sign(address(parties), hasher.nodeKey(key), PROVIDER_KEY);
        vm.expectRevert(
            abi.encodeWithSelector(IPartyRegistry.KeyTaken.selector, vm.addr(PROVIDER_KEY), PROVIDER)
        );
        parties.enrol(keccak256("x"), Roles.CONSUMER, key, signature);
    }

    function test_enrol_revertsForUnknownRoles() public {
        NodeKey memory key = nodeKey(keccak256("x"), NEW_KEY, 0);
        bytes memory signature = sign(address(parties), hasher.nodeKey(key), NEW_KEY);
        vm.expectRevert(abi.encodeWithSelector(IPartyRegistry.RolesInvalid.selector, uint32(16)));
        parties.enrol(keccak256("x"), 16, key, signature);
        vm.expectRevert(abi.encodeWithSelector(IPartyRegistry.RolesInvalid.selector, uint32(0)));
        parties.enrol(keccak256("x"), 0, key, signature);
    }

    function test_addRoles_onlyAdds() public {
        parties.addRoles(PROVIDER, Roles.CONSUMER);
        assertEq(parties.rolesOf(PROVIDER), Roles.PROVIDER | Roles.CONSUMER, "roles");
        vm.expectRevert(abi.encodeWithSelector(IPartyRegistry.PartyUnknown.selector, keccak256("x")));
        parties.addRoles(keccak256("x"), Roles.CONSUMER);
    }

    function test_rotate_keepsHistory() public {
        vm.warp(START + 100);
        rotate(PROVIDER_KEY, NEW_KEY, 1);
        assertEq(parties.activeKey(PROVIDER), vm.addr(NEW_KEY), "active");
        IPartyRegistry.KeyRecord memory old = parties.keyAt(PROVIDER, 0);
        assertEq(old.validFrom, START, "from");
        assertEq(old.validUntil, START + 100, "until");
        assertEq(parties.keyAt(PROVIDER, 1).validUntil, 0, "current");
        assertTrue(!parties.isActiveKey(PROVIDER, vm.addr(PROVIDER_KEY)), "old key no longer active");
    }

    function test_rotate_revertsWithoutTheCurrentKey() public {
        NodeKey memory next = nodeKey(PROVIDER, NEW_KEY, 1);
        bytes memory byNew = sign(address(parties), hasher.nodeKey(next), NEW_KEY);
        // Not even the operator, who sends this call, can replace a party's key.
        vm.expectRevert(
            abi.encodeWithSelector(IPartyErrors.NotPartyKey.selector, PROVIDER, vm.addr(NEW_KEY))
        );
        parties.rotate(next, byNew, byNew);
    }

    function test_rotate_revertsToAnOldKey() public {
        rotate(PROVIDER_KEY, NEW_KEY, 1);
        NodeKey memory back = nodeKey(PROVIDER, PROVIDER_KEY, 2);
        bytes32 structHash = hasher.nodeKey(back);
        bytes memory byCurrent = sign(address(parties), structHash, NEW_KEY);
        bytes memory byOld = sign(address(parties), structHash, PROVIDER_KEY);
        vm.expectRevert(
            abi.encodeWithSelector(IPartyRegistry.KeyTaken.selector, vm.addr(PROVIDER_KEY), PROVIDER)
        );
        parties.rotate(back, byCurrent, byOld);
    }

    function test_rotate_revertsOnReplay() public {
        NodeKey memory next = nodeKey(PROVIDER, NEW_KEY, 1);
        bytes32 structHash = hasher.nodeKey(next);
        bytes memory byOld = sign(address(parties), structHash, PROVIDER_KEY);
        bytes memory byNew = sign(address(parties), structHash, NEW_KEY);
        parties.rotate(next, byOld, byNew);
        vm.expectRevert(abi.encodeWithSelector(IPartyRegistry.KeyOutOfOrder.selector, PROVIDER, uint64(2), uint64(1)));
        parties.rotate(next, byOld, byNew);
    }

    function test_rotate_revertsWhenSuspended() public {
        parties.suspend(PROVIDER);
        NodeKey memory next = nodeKey(PROVIDER, NEW_KEY, 1);
        bytes32 structHash = hasher.nodeKey(next);
        bytes memory byOld = sign(address(parties), structHash, PROVIDER_KEY);
        bytes memory byNew = sign(address(parties), structHash, NEW_KEY);
        vm.expectRevert(abi.encodeWithSelector(IPartyErrors.PartySuspended.selector, PROVIDER));
        parties.rotate(next, byOld, byNew);
    }

    function test_suspend_eachLiftsOnlyItsOwn() public {
        parties.suspend(PROVIDER);
        actAs(REGULATOR_KEY, REGULATOR, PROVIDER, 3, 0);
        parties.reinstate(PROVIDER);
        assertTrue(parties.isSuspended(PROVIDER), "the regulator's suspension stays");
        vm.expectRevert(
            abi.encodeWithSelector(IPartyRegistry.SuspensionUnchanged.selector, PROVIDER, bytes32(0))
        );
        parties.reinstate(PROVIDER);
        actAs(REGULATOR_KEY, REGULATOR, PROVIDER, 4, 1);
        assertTrue(!parties.isSuspended(PROVIDER), "lifted");
    }

    function test_suspend_revertsForARegulator() public {
        vm.expectRevert(abi.encodeWithSelector(IPartyRegistry.RegulatorNotSuspendable.selector, REGULATOR));
        parties.suspend(REGULATOR);
    }

    function test_act_revertsForOthersAndReplays() public {
        Action memory action = act(PROVIDER, CONSUMER, 3, 0);
        bytes memory signature = sign(address(parties), hasher.action(action), PROVIDER_KEY);
        vm.expectRevert(abi.encodeWithSelector(IPartyErrors.RoleMissing.selector, PROVIDER, Roles.REGULATOR));
        parties.act(action, signature);

        action = act(REGULATOR, CONSUMER, 3, 0);
        signature = sign(address(parties), hasher.action(action), REGULATOR_KEY);
        parties.act(action, signature);
        vm.expectRevert(
            abi.encodeWithSelector(IPartyErrors.NonceInvalid.selector, REGULATOR, uint64(1), uint64(0))
        );
        parties.act(action, signature);

        action = act(REGULATOR, CONSUMER, 1, 1);
        signature = sign(address(parties), hasher.action(action), REGULATOR_KEY);
        vm.expectRevert(abi.encodeWithSelector(IPartyErrors.VerbInvalid.selector, uint8(1)));
        parties.act(action, signature);
    }

    function test_act_revertsForASuspendedPartyThatBecameRegulator() public {
        parties.suspend(CONSUMER);
        parties.addRoles(CONSUMER, Roles.REGULATOR);
        Action memory action = act(CONSUMER, PROVIDER, 3, 0);
        bytes memory signature = sign(address(parties), hasher.action(action), CONSUMER_KEY);
        vm.expectRevert(abi.encodeWithSelector(IPartyErrors.PartySuspended.selector, CONSUMER));
        parties.act(action, signature);
        parties.reinstate(CONSUMER);
        parties.act(action, signature);
    }

    function testFuzz_rotate_nobodyButTheCurrentKey(uint256 key) public {
        key = bound(key, 1, type(uint128).max);
        vm.assume(key != PROVIDER_KEY && key != NEW_KEY && key != CONSUMER_KEY && key != REGULATOR_KEY);
        NodeKey memory next = nodeKey(PROVIDER, NEW_KEY, 1);
        bytes32 structHash = hasher.nodeKey(next);
        bytes memory byOther = sign(address(parties), structHash, key);
        bytes memory byNew = sign(address(parties), structHash, NEW_KEY);
        vm.expectRevert(abi.encodeWithSelector(IPartyErrors.NotPartyKey.selector, PROVIDER, vm.addr(key)));
        parties.rotate(next, byOther, byNew);
    }

    function test_signature_malleabilityIsRefused() public {
        NodeKey memory key = nodeKey(keccak256("x"), NEW_KEY, 0);
        bytes32 digest = keccak256(abi.encodePacked("\x19\x01", separator(address(parties)), hasher.nodeKey(key)));
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(NEW_KEY, digest);
        uint256 order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141;
        bytes memory mirrored = abi.encodePacked(r, bytes32(order - uint256(s)), v == 27 ? uint8(28) : uint8(27));
        vm.expectRevert(
            abi.encodeWithSelector(IPartyRegistry.KeyUnproven.selector, vm.addr(NEW_KEY), address(0))
        );
        parties.enrol(keccak256("x"), Roles.CONSUMER, key, mirrored);
        vm.expectRevert(
            abi.encodeWithSelector(IPartyRegistry.KeyUnproven.selector, vm.addr(NEW_KEY), address(0))
        );
        parties.enrol(keccak256("x"), Roles.CONSUMER, key, hex"1234");
    }
}
