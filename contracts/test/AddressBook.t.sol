// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";

import {AddressBook} from "../src/AddressBook.sol";
import {IAddressBook} from "../src/interfaces/IAddressBook.sol";
import {Fixture} from "./Fixture.sol";

contract AddressBookTest is Fixture {
    uint64 private constant DELAY_S = 2 days;
    bytes32 private constant NAME = "UsageLedger";

    AddressBook private book;

    function setUp() public override {
        super.setUp();
        book = new AddressBook(address(this), DELAY_S);
        book.set(NAME, address(ledger));
    }

    function test_set_namesOnce() public {
        assertEq(book.current(NAME).target, address(ledger), "target");
        assertEq(book.current(NAME).codeHash, address(ledger).codehash, "code hash");
        vm.expectRevert(abi.encodeWithSelector(IAddressBook.NameTaken.selector, NAME));
        book.set(NAME, address(parties));
    }

    function test_set_revertsForAnyoneButTheOperatorAndForNoContract() public {
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, address(0xE)));
        vm.prank(address(0xE));
        book.set("PartyRegistry", address(parties));
        vm.expectRevert(abi.encodeWithSelector(IAddressBook.NotContract.selector, address(0xE)));
        book.set("PartyRegistry", address(0xE));
        vm.expectRevert(abi.encodeWithSelector(IAddressBook.NameUnknown.selector, bytes32("PartyRegistry")));
        book.current("PartyRegistry");
    }

    function test_replacement_waitsForTheTimelock() public {
        book.propose(NAME, address(parties));
        vm.warp(START + DELAY_S - 1);
        vm.expectRevert(abi.encodeWithSelector(IAddressBook.TimelockRunning.selector, NAME, START + DELAY_S));
        book.accept(NAME);
        vm.warp(START + DELAY_S);
        book.accept(NAME);
        assertEq(book.current(NAME).target, address(parties), "replaced");
        assertEq(book.historyOf(NAME)[0].target, address(ledger), "the old entry stays");
        vm.expectRevert(abi.encodeWithSelector(IAddressBook.ReplacementMissing.selector, NAME));
        book.accept(NAME);
    }

    function test_replacement_secondProposalRestartsTheTimelock() public {
        book.propose(NAME, address(parties));
        vm.warp(START + DELAY_S - 1);
        book.propose(NAME, address(datasets));
        vm.warp(START + DELAY_S);
        vm.expectPartialRevert(IAddressBook.TimelockRunning.selector);
        book.accept(NAME);
    }

    function test_replacement_canBeCancelled() public {
        book.propose(NAME, address(parties));
        book.cancel(NAME);
        vm.warp(START + DELAY_S);
        vm.expectRevert(abi.encodeWithSelector(IAddressBook.ReplacementMissing.selector, NAME));
        book.accept(NAME);
        vm.expectRevert(abi.encodeWithSelector(IAddressBook.NameUnknown.selector, bytes32("None")));
        book.propose("None", address(parties));
    }
}
