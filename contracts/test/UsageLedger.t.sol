// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Action, Grant, JobRequest, Line, Receipt} from "../src/interfaces/ILiutongTypes.sol";
import {IPartyErrors} from "../src/interfaces/IPartyErrors.sol";
import {IUsageLedger} from "../src/interfaces/IUsageLedger.sol";
import {Roles} from "../src/Codes.sol";
import {Fixture} from "./Fixture.sol";
import {Log} from "./Test.sol";

contract UsageLedgerTest is Fixture {
    function expectReserveReverts(JobRequest memory request, bytes memory reason) private {
        bytes memory signature = sign(address(ledger), hasher.jobRequest(request), CONSUMER_KEY);
        vm.expectRevert(reason);
        ledger.reserve(request, signature);
    }

    function expectActivateReverts(Grant memory grant, uint256 key, bytes memory reason) private {
        bytes memory signature = sign(address(ledger), hasher.grant(grant), key);
        vm.expectRevert(reason);
        ledger.activate(grant, signature);
    }

    function expectCommitReverts(Receipt[] memory receipts, uint256 key, bytes memory reason) private {
        bytes memory signature = sign(address(ledger), batchHash(receipts), key);
        vm.expectRevert(reason);
        ledger.commit(receipts, signature);
    }

    function one(Receipt memory receipt) private pure returns (Receipt[] memory receipts) {
        receipts = new Receipt[](1);
        receipts[0] = receipt;
    }

    function counters(bytes32 grant) private view returns (uint64 used, uint64 held) {
        IUsageLedger.GrantRecord memory record = ledger.grantOf(grant);
        return (record.used, record.reserved);
    }

    function freezeDataset() private {
        Action memory action = act(REGULATOR, DATASET, 1, 0);
        datasets.freeze(action, sign(address(datasets), hasher.action(action), REGULATOR_KEY));
    }

    /// The reason in the ReceiptUnsettled event of a commit; fails if there is none.
    function unsettled(Receipt memory receipt) private returns (IUsageLedger.Unsettled why) {
        vm.recordLogs();
        commit(receipt);
        Log[] memory logs = vm.getRecordedLogs();
        for (uint256 i = 0; i < logs.length; ++i) {
            if (logs[i].topics[0] == IUsageLedger.ReceiptUnsettled.selector) {
                (, why) = abi.decode(logs[i].data, (bytes32, IUsageLedger.Unsettled));
                return why;
            }
        }
        revert Untrue("the receipt was taken at its word");
    }

    function assertUnsettled(Receipt memory receipt, IUsageLedger.Unsettled expected) private {
        uint64 sequence = ledger.tipOf(PROVIDER).sequence;
        (uint64 used,) = counters(receipt.grant);
        assertEq(uint8(unsettled(receipt)), uint8(expected), "why");
        assertEq(ledger.tipOf(PROVIDER).sequence, sequence + 1, "anchored all the same");
        (uint64 usedAfter,) = counters(receipt.grant);
        assertEq(usedAfter, used, "nothing charged");
    }

    // ---- activate and revoke ----

    function test_activate_storesTheGrantUnderItsHash() public {
        Grant memory grant = newGrant(10, keccak256("terms"));
        bytes32 id = activate(grant);
        assertEq(id, hasher.grant(grant), "id");
        IUsageLedger.GrantRecord memory record = ledger.grantOf(id);
        assertEq(record.provider, PROVIDER, "provider");
        assertEq(record.termsHash, grant.termsHash, "terms");
        assertEq(record.quota, 10, "quota");
        assertEq(record.activatedAt, START, "activated");
    }

    function test_activate_revertsTwice() public {
        Grant memory grant = newGrant(10, keccak256("terms"));
        bytes32 id = activate(grant);
        expectActivateReverts(grant, PROVIDER_KEY, abi.encodeWithSelector(IUsageLedger.GrantExists.selector, id));
    }

    function testFuzz_activate_nobodyButTheProvidersKey(uint256 key) public {
        key = bound(key, 1, type(uint128).max);
        vm.assume(key != PROVIDER_KEY);
        expectActivateReverts(
            newGrant(10, keccak256("terms")),
            key,
            abi.encodeWithSelector(IPartyErrors.NotPartyKey.selector, PROVIDER, vm.addr(key))
        );
    }

    function testFuzz_activate_aChangedGrantIsNotTheSignedOne(uint64 quota, uint64 expiry, uint32 operations) public {
        Grant memory grant = newGrant(10, keccak256("terms"));
        bytes memory signature = sign(address(ledger), hasher.grant(grant), PROVIDER_KEY);
        vm.assume(quota > 10 && operations != 0 && operations < 32);
        expiry = uint64(bound(expiry, grant.expiry, type(uint64).max));
        grant.quota = quota;
        grant.expiry = expiry;
        grant.operations = operations;
        vm.expectPartialRevert(IPartyErrors.NotPartyKey.selector);
        ledger.activate(grant, signature);
    }

    function test_activate_revertsForImpossibleTerms() public {
        Grant memory grant = newGrant(0, keccak256("terms"));
        bytes4 invalid = IUsageLedger.GrantTermsInvalid.selector;
        expectActivateReverts(grant, PROVIDER_KEY, abi.encodeWithSelector(invalid, hasher.grant(grant)));
        grant = newGrant(1, keccak256("terms"));
        grant.operations = 0;
        expectActivateReverts(grant, PROVIDER_KEY, abi.encodeWithSelector(invalid, hasher.grant(grant)));
        grant.operations = 32;
        expectActivateReverts(grant, PROVIDER_KEY, abi.encodeWithSelector(invalid, hasher.grant(grant)));
        grant.operations = 1;
        grant.expiry = grant.notBefore;
        expectActivateReverts(grant, PROVIDER_KEY, abi.encodeWithSelector(invalid, hasher.grant(grant)));
        grant.notBefore = START - 20;
        grant.expiry = START - 10;
        expectActivateReverts(
            grant,
            PROVIDER_KEY,
            abi.encodeWithSelector(IUsageLedger.GrantExpired.selector, hasher.grant(grant), grant.expiry)
        );
    }

    function test_activate_revertsOffTheOwnersDatasetOrWithoutAConsumer() public {
        Grant memory grant = newGrant(10, keccak256("terms"));
        grant.dataset = keccak256("elsewhere");
        expectActivateReverts(
            grant,
            PROVIDER_KEY,
            abi.encodeWithSelector(IUsageLedger.NotDatasetOwner.selector, grant.dataset, PROVIDER)
        );
        grant = newGrant(10, keccak256("terms"));
        grant.consumer = REGULATOR;
        expectActivateReverts(
            grant,
            PROVIDER_KEY,
            abi.encodeWithSelector(IPartyErrors.RoleMissing.selector, REGULATOR, Roles.CONSUMER)
        );
        freezeDataset();
        expectActivateReverts(
            newGrant(10, keccak256("terms")),
            PROVIDER_KEY,
            abi.encodeWithSelector(IUsageLedger.DatasetFrozen.selector, DATASET)
        );
    }

    function test_revoke_onceAndByTheProviderOnly() public {
        bytes32 grant = activated(10);
        vm.expectRevert(
            abi.encodeWithSelector(IPartyErrors.NotPartyKey.selector, PROVIDER, vm.addr(CONSUMER_KEY))
        );
        this.revokeAs(grant, CONSUMER_KEY);
        parties.suspend(PROVIDER); // less right needs no good standing
        revoke(grant, PROVIDER_KEY);
        assertEq(ledger.grantOf(grant).revokedAt, START, "revoked");
        vm.expectRevert(abi.encodeWithSelector(IUsageLedger.GrantRevoked.selector, grant));
        this.revokeAs(grant, PROVIDER_KEY);
        vm.expectRevert(abi.encodeWithSelector(IUsageLedger.GrantUnknown.selector, keccak256("none")));
        this.revokeAs(keccak256("none"), PROVIDER_KEY);
    }

    function revokeAs(bytes32 grant, uint256 key) external {
        revoke(grant, key);
    }

    // ---- reserve ----

    function test_reserve_holdsUnitsAndEpsilon() public {
        bytes32 grant = activated(10);
        bytes32 job = reserve(newRequest(grant, 7, 500, 1));
        IUsageLedger.GrantRecord memory record = ledger.grantOf(grant);
        assertEq(record.reserved, 7, "units");
        assertEq(record.epsilonReserved, 500, "epsilon");
        assertEq(ledger.specOf(job), SPEC, "spec");
        assertEq(uint8(ledger.reservationOf(job, grant).state), 1, "open");
    }

    function test_reserve_revertsOnReplay() public {
        JobRequest memory request = newRequest(activated(10), 1, 0, 1);
        bytes32 job = reserve(request);
        expectReserveReverts(request, abi.encodeWithSelector(IUsageLedger.JobExists.selector, job));
    }

    function test_reserve_revertsBeyondQuotaOrEpsilon() public {
        bytes32 grant = activated(10);
        reserve(newRequest(grant, 7, 900_000, 1));
        expectReserveReverts(
            newRequest(grant, 4, 0, 2),
            abi.encodeWithSelector(IUsageLedger.QuotaExceeded.selector, grant, uint64(4), uint64(3))
        );
        expectReserveReverts(
            newRequest(grant, 1, 100_001, 2),
            abi.encodeWithSelector(IUsageLedger.EpsilonExceeded.selector, grant, uint64(100_001), uint64(100_000))
        );
    }

    function test_reserve_isAllOrNothing() public {
        bytes32 rich = activated(10);
        bytes32 poor = activate(newGrant(1, keccak256("poor")));
        JobRequest memory request = newRequest(rich, 5, 0, 1);
        request.lines = new Line[](2);
        request.lines[0] = Line(rich, 5, 0);
        request.lines[1] = Line(poor, 2, 0);
        expectReserveReverts(
            request, abi.encodeWithSelector(IUsageLedger.QuotaExceeded.selector, poor, uint64(2), uint64(1))
        );
        (, uint64 held) = counters(rich);
        assertEq(held, 0, "nothing held");
    }

    function test_reserve_revertsWhenRevokedExpiredOrEarly() public {
        bytes32 grant = activated(10);
        Grant memory later = newGrant(10, keccak256("later"));
        later.notBefore = START + 100;
        bytes32 early = activate(later);
        expectReserveReverts(
            newRequest(early, 1, 0, 1),
            abi.encodeWithSelector(IUsageLedger.GrantNotStarted.selector, early, START + 100)
        );
        vm.warp(START + 30 days);
        expectReserveReverts(
            newRequest(grant, 1, 0, 1),
            abi.encodeWithSelector(IUsageLedger.GrantExpired.selector, grant, START + 30 days)
        );
        vm.warp(START + 1);
        revoke(grant, PROVIDER_KEY);
        expectReserveReverts(
            newRequest(grant, 1, 0, 1), abi.encodeWithSelector(IUsageLedger.GrantRevoked.selector, grant)
        );
    }

    function test_reserve_revertsWhenFrozenOrSuspended() public {
        bytes32 grant = activated(10);
        JobRequest memory request = newRequest(grant, 1, 0, 1);
        parties.suspend(PROVIDER);
        expectReserveReverts(request, abi.encodeWithSelector(IPartyErrors.PartySuspended.selector, PROVIDER));
        parties.reinstate(PROVIDER);
        parties.suspend(CONSUMER);
        expectReserveReverts(request, abi.encodeWithSelector(IPartyErrors.PartySuspended.selector, CONSUMER));
        parties.reinstate(CONSUMER);
        freezeDataset();
        expectReserveReverts(request, abi.encodeWithSelector(IUsageLedger.DatasetFrozen.selector, DATASET));
    }

    function test_reserve_revertsForAnotherConsumer() public {
        bytes32 grant = activated(10);
        bytes32 other = keccak256("other consumer");
        enrol(other, Roles.CONSUMER, STRANGER_KEY);
        JobRequest memory request = newRequest(grant, 1, 0, 1);
        request.consumer = other;
        bytes memory signature = sign(address(ledger), hasher.jobRequest(request), STRANGER_KEY);
        vm.expectRevert(abi.encodeWithSelector(IUsageLedger.NotGrantee.selector, grant, other));
        ledger.reserve(request, signature);
        expectReserveReverts(
            request, abi.encodeWithSelector(IPartyErrors.NotPartyKey.selector, other, vm.addr(CONSUMER_KEY))
        );
    }

    function test_reserve_revertsForMalformedRequests() public {
        bytes32 grant = activated(10);
        JobRequest memory request = newRequest(grant, 0, 0, 1);
        expectReserveReverts(request, abi.encodeWithSelector(IUsageLedger.UnitsMissing.selector, grant));
        request = newRequest(grant, 1, 0, 1);
        request.lines = new Line[](0);
        bytes32 job = hasher.jobRequest(request);
        expectReserveReverts(request, abi.encodeWithSelector(IUsageLedger.JobEmpty.selector, job));
        request.lines = new Line[](17);
        expectReserveReverts(
            request, abi.encodeWithSelector(IUsageLedger.JobTooWide.selector, uint256(17), uint256(16))
        );
        request.lines = new Line[](2);
        request.lines[0] = Line(grant, 1, 0);
        request.lines[1] = Line(grant, 1, 0);
        job = hasher.jobRequest(request);
        expectReserveReverts(request, abi.encodeWithSelector(IUsageLedger.LineRepeated.selector, job, grant));
        request = newRequest(grant, 1, 0, 1);
        request.specHash = bytes32(0);
        job = hasher.jobRequest(request);
        expectReserveReverts(request, abi.encodeWithSelector(IUsageLedger.SpecMissing.selector, job));
        request = newRequest(keccak256("none"), 1, 0, 1);
        expectReserveReverts(request, abi.encodeWithSelector(IUsageLedger.GrantUnknown.selector, keccak256("none")));
    }

    function test_reserve_revertsForAPassedOrDistantDeadline() public {
        JobRequest memory request = newRequest(activated(10), 1, 0, 1);
        request.deadline = START;
        expectReserveReverts(request, abi.encodeWithSelector(IUsageLedger.DeadlinePassed.selector, START));
        request.deadline = START + 30 days + 1;
        expectReserveReverts(
            request,
            abi.encodeWithSelector(IUsageLedger.DeadlineTooFar.selector, START + 30 days + 1, START + 30 days)
        );
    }

    // ---- commit ----

    function test_commit_chargesAndReturnsTheRest() public {
        bytes32 grant = activated(10);
        bytes32 job = reserved(grant, 7);
        commit(newReceipt(job, grant, 4));
        (uint64 used, uint64 held) = counters(grant);
        assertEq(used, 4, "used");
        assertEq(held, 0, "held");
        assertEq(uint8(ledger.reservationOf(job, grant).state), 2, "settled");
        assertEq(ledger.batchOf(PROVIDER, 1).count, 1, "anchored");
    }

    function test_commit_aBatchOfManyKeepsOneChain() public {
        bytes32 grant = activated(100);
        Receipt[] memory receipts = new Receipt[](5);
        for (uint256 i = 0; i < 5; ++i) {
            receipts[i] = newReceipt(reserved(grant, uint64(i + 1)), grant, uint64(i));
            receipts[i].sequence = uint64(i + 1);
            if (i > 0) receipts[i].previous = hasher.receipt(receipts[i - 1]);
        }
        commit(receipts);
        (uint64 used, uint64 held) = counters(grant);
        assertEq(used, 10, "used");
        assertEq(held, 0, "held");
        assertEq(ledger.tipOf(PROVIDER).sequence, 5, "tip");
        assertEq(ledger.tipOf(PROVIDER).digest, hasher.receipt(receipts[4]), "digest");
    }

    function test_commit_revertsOffTheChain() public {
        bytes32 grant = activated(10);
        Receipt memory receipt = newReceipt(keccak256("job"), grant, 0);
        receipt.sequence = 2;
        expectCommitReverts(
            one(receipt),
            PROVIDER_KEY,
            abi.encodeWithSelector(IUsageLedger.ReceiptOutOfSequence.selector, PROVIDER, uint64(1), uint64(2))
        );
        receipt.sequence = 1;
        receipt.previous = keccak256("fork");
        expectCommitReverts(
            one(receipt),
            PROVIDER_KEY,
            abi.encodeWithSelector(
                IUsageLedger.ReceiptChainBroken.selector, PROVIDER, uint64(1), bytes32(0), keccak256("fork")
            )
        );
        receipt.previous = bytes32(0);
        Receipt[] memory two = new Receipt[](2);
        two[0] = receipt;
        two[1] = newReceipt(keccak256("job"), grant, 0);
        two[1].node = CONSUMER;
        expectCommitReverts(
            two, PROVIDER_KEY, abi.encodeWithSelector(IUsageLedger.ReceiptForeign.selector, PROVIDER, CONSUMER)
        );
        vm.expectRevert(abi.encodeWithSelector(IUsageLedger.BatchEmpty.selector));
        ledger.commit(new Receipt[](0), "");
        vm.expectRevert(abi.encodeWithSelector(IUsageLedger.BatchTooLarge.selector, uint256(257), uint256(256)));
        ledger.commit(new Receipt[](257), "");
    }

    function test_commit_revertsTwice() public {
        bytes32 grant = activated(10);
        Receipt memory receipt = newReceipt(reserved(grant, 5), grant, 5);
        commit(receipt);
        expectCommitReverts(
            one(receipt),
            PROVIDER_KEY,
            abi.encodeWithSelector(IUsageLedger.ReceiptOutOfSequence.selector, PROVIDER, uint64(2), uint64(1))
        );
    }

    function testFuzz_commit_nobodyButTheNodesKey(uint256 key) public {
        key = bound(key, 1, type(uint128).max);
        vm.assume(key != PROVIDER_KEY);
        bytes32 grant = activated(10);
        expectCommitReverts(
            one(newReceipt(reserved(grant, 5), grant, 5)),
            key,
            abi.encodeWithSelector(IPartyErrors.NotPartyKey.selector, PROVIDER, vm.addr(key))
        );
    }

    function test_commit_anUnknownNodeHasNoKey() public {
        Receipt memory receipt = newReceipt(keccak256("job"), bytes32(0), 0);
        receipt.node = keccak256("nobody");
        expectCommitReverts(
            one(receipt),
            STRANGER_KEY,
            abi.encodeWithSelector(
                IPartyErrors.NotPartyKey.selector, keccak256("nobody"), vm.addr(STRANGER_KEY)
            )
        );
    }

    function test_commit_whatCannotSettleIsAnchoredAndSaysWhy() public {
        bytes32 grant = activated(10);
        bytes32 job = reserved(grant, 5);
        Receipt memory receipt = newReceipt(job, grant, 6);
        assertUnsettled(receipt, IUsageLedger.Unsettled.ReservationExceeded);

        receipt = newReceipt(job, grant, 1);
        receipt.epsilonMicro = 1;
        assertUnsettled(receipt, IUsageLedger.Unsettled.ReservationExceeded);

        receipt = newReceipt(job, grant, 5);
        receipt.specHash = keccak256("another");
        assertUnsettled(receipt, IUsageLedger.Unsettled.SpecMismatch);

        receipt = newReceipt(job, grant, 5);
        receipt.settles = false;
        assertUnsettled(receipt, IUsageLedger.Unsettled.UnitsWithoutSettling);

        receipt = newReceipt(job, grant, 5);
        receipt.outcome = 2;
        assertUnsettled(receipt, IUsageLedger.Unsettled.UnitsOfRefusal);

        receipt = newReceipt(job, grant, 5);
        receipt.outcome = 6;
        assertUnsettled(receipt, IUsageLedger.Unsettled.OutcomeInvalid);

        assertUnsettled(newReceipt(keccak256("none"), grant, 5), IUsageLedger.Unsettled.ReservationMissing);

        commit(newReceipt(job, grant, 5));
        assertUnsettled(newReceipt(job, grant, 5), IUsageLedger.Unsettled.ReservationSettled);
    }

    function test_commit_aNodeCannotSettleUnderAnothersGrant() public {
        bytes32 grant = activated(10);
        bytes32 job = reserved(grant, 5);
        bytes32 other = keccak256("other provider");
        enrol(other, Roles.PROVIDER, STRANGER_KEY);
        Receipt memory receipt = newReceipt(job, grant, 5);
        receipt.node = other;
        bytes memory signature = sign(address(ledger), batchHash(one(receipt)), STRANGER_KEY);
        vm.recordLogs();
        ledger.commit(one(receipt), signature);
        Log[] memory logs = vm.getRecordedLogs();
        (, IUsageLedger.Unsettled why) =
            abi.decode(logs[logs.length - 1].data, (bytes32, IUsageLedger.Unsettled));
        assertEq(uint8(why), uint8(IUsageLedger.Unsettled.NotProvider), "why");
        assertEq(uint8(ledger.reservationOf(job, grant).state), 1, "still open");
    }

    function test_commit_aReceiptThatDoesNotSettleLeavesTheReservationOpen() public {
        bytes32 grant = activated(10);
        bytes32 job = reserved(grant, 5);
        Receipt memory refusal = newReceipt(job, grant, 0);
        refusal.settles = false;
        refusal.outcome = 2;
        commit(refusal);
        assertEq(uint8(ledger.reservationOf(job, grant).state), 1, "open");
    }

    function test_commit_suspensionDoesNotSilenceANode() public {
        bytes32 grant = activated(10);
        bytes32 job = reserved(grant, 5);
        parties.suspend(PROVIDER);
        commit(newReceipt(job, grant, 5));
        (uint64 used,) = counters(grant);
        assertEq(used, 5, "charged");
    }

    // ---- release ----

    function test_release_afterDeadlineAndGraceOnly() public {
        bytes32 grant = activated(10);
        bytes32 job = reserved(grant, 5);
        uint64 due = START + 1 hours + GRACE_S;
        vm.warp(due - 1);
        vm.expectRevert(abi.encodeWithSelector(IUsageLedger.ReleaseTooEarly.selector, job, grant, due));
        ledger.release(job, grant);
        vm.warp(due);
        vm.prank(address(0xE));
        ledger.release(job, grant);
        (, uint64 held) = counters(grant);
        assertEq(held, 0, "held");
        vm.expectRevert(abi.encodeWithSelector(IUsageLedger.ReservationNotOpen.selector, job, grant));
        ledger.release(job, grant);
    }

    function test_release_aLateReceiptIsChargedIfQuotaIsLeft() public {
        bytes32 grant = activated(10);
        bytes32 job = reserved(grant, 6);
        vm.warp(START + 1 hours + GRACE_S);
        ledger.release(job, grant);
        commit(newReceipt(job, grant, 6));
        (uint64 used, uint64 held) = counters(grant);
        assertEq(used, 6, "used");
        assertEq(held, 0, "held");
        assertEq(uint8(ledger.reservationOf(job, grant).state), 2, "settled");
    }

    function test_release_aLateReceiptBeyondTheQuotaIsAnchoredOnly() public {
        bytes32 grant = activated(10);
        bytes32 job = reserved(grant, 6);
        vm.warp(START + 1 hours + GRACE_S);
        ledger.release(job, grant);
        reserved(grant, 8);
        assertUnsettled(newReceipt(job, grant, 6), IUsageLedger.Unsettled.QuotaGone);
    }

    function testFuzz_reserveAndCommit_neverPassTheQuota(uint64 quota, uint64[8] memory asked, uint64[8] memory used)
        public
    {
        quota = uint64(bound(quota, 1, 1000));
        bytes32 grant = activated(quota);
        uint256 charged;
        for (uint256 i = 0; i < asked.length; ++i) {
            (uint64 spent, uint64 held) = counters(grant);
            uint64 left = quota - spent - held;
            uint64 units = uint64(bound(asked[i], 1, 400));
            JobRequest memory request = newRequest(grant, units, 0, i);
            if (units > left) {
                expectReserveReverts(
                    request, abi.encodeWithSelector(IUsageLedger.QuotaExceeded.selector, grant, units, left)
                );
                continue;
            }
            bytes32 job = reserve(request);
            uint64 spends = uint64(bound(used[i], 0, units));
            commit(newReceipt(job, grant, spends));
            charged += spends;
        }
        (uint64 total,) = counters(grant);
        assertEq(total, charged, "sum of units");
        assertTrue(total <= quota, "quota");
    }
}
