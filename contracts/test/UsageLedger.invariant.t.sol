// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Action, Grant, JobRequest, Receipt} from "../src/interfaces/ILiutongTypes.sol";
import {IUsageLedger} from "../src/interfaces/IUsageLedger.sol";
import {Fixture} from "./Fixture.sol";

/// Everybody acts at random: the honest, the hasty and the forgers. It keeps its own account of what should hold,
/// from what it sent, and never from the ledger's counters.
contract Handler is Fixture {
    struct Held {
        bytes32 job;
        bytes32 grant;
        uint64 units;
        uint64 deadline;
        bool settled;
        bool released;
    }

    bytes32[] public grants;
    Held[] public held;
    mapping(bytes32 grant => uint256) public unitsSettled;
    mapping(bytes32 job => uint256) public settledReceipts;
    mapping(bytes32 grant => bool) public ended; // revoked
    mapping(bytes32 grant => uint64) public expiry;
    mapping(bytes32 grant => uint64) public quota;

    bool public forged; // somebody else's key created, widened or ended a grant, or wrote a receipt
    bool public reservedWithoutRight; // a revoked, expired or frozen grant took a reservation
    uint256 private _nonce;
    uint64 private _freezeNonce;
    bool private _frozen;

    function setUp() public override {
        super.setUp();
    }

    function ledgerAddress() external view returns (IUsageLedger) {
        return ledger;
    }

    function grantCount() external view returns (uint256) {
        return grants.length;
    }

    function heldCount() external view returns (uint256) {
        return held.length;
    }

    function doActivate(uint64 units, uint64 hours_) external {
        if (grants.length >= 4 || _frozen) return;
        Grant memory grant = newGrant(uint64(bound(units, 1, 40)), bytes32(++_nonce));
        grant.expiry = grant.notBefore + uint64(bound(hours_, 6, 48)) * 1 hours;
        bytes32 id = activate(grant);
        grants.push(id);
        expiry[id] = grant.expiry;
        quota[id] = grant.quota;
    }

    function doForgeGrant(uint256 key, uint64 units, uint256 pick, bool widen) external {
        key = bound(key, 1, type(uint64).max);
        if (key == PROVIDER_KEY) return;
        Grant memory grant = newGrant(uint64(bound(units, 1, 1000)), bytes32(++_nonce));
        // Widening: the provider's signature over one grant, presented with another quota.
        bytes memory signature = widen
            ? sign(address(ledger), hasher.grant(grant), PROVIDER_KEY)
            : sign(address(ledger), hasher.grant(grant), key);
        if (widen) grant.quota += 1;
        try ledger.activate(grant, signature) {
            forged = true;
        } catch {}
        if (grants.length == 0) return;
        try this.revokeAs(grants[pick % grants.length], key) {
            forged = true;
        } catch {}
    }

    function revokeAs(bytes32 grant, uint256 key) external {
        revoke(grant, key);
    }

    function doRevoke(uint256 pick, uint8 dice) external {
        if (grants.length == 0 || dice % 8 != 0) return;
        bytes32 id = grants[pick % grants.length];
        if (ended[id]) return;
        revoke(id, PROVIDER_KEY);
        ended[id] = true;
    }

    function doFreeze(uint8 dice) external {
        if (dice % 6 != 0) return;
        Action memory action = act(REGULATOR, DATASET, _frozen ? 2 : 1, _freezeNonce++);
        bytes memory signature = sign(address(datasets), hasher.action(action), REGULATOR_KEY);
        if (_frozen) datasets.unfreeze(action, signature);
        else datasets.freeze(action, signature);
        _frozen = !_frozen;
    }

    function doReserve(uint256 pick, uint64 units, uint16 deadlineS) external {
        if (grants.length == 0) return;
        _reserve(grants[pick % grants.length], uint64(bound(units, 1, 40)), uint64(bound(deadlineS, 1, 7200)));
    }

    function _reserve(bytes32 id, uint64 units, uint64 deadlineS) private {
        JobRequest memory request = newRequest(id, units, 0, ++_nonce);
        request.deadline = uint64(block.timestamp) + deadlineS;
        bytes memory signature = sign(address(ledger), hasher.jobRequest(request), CONSUMER_KEY);
        try ledger.reserve(request, signature) returns (bytes32 job) {
            if (ended[id] || block.timestamp >= expiry[id] || _frozen) reservedWithoutRight = true;
            held.push(Held(job, id, units, request.deadline, false, false));
        } catch {}
    }

    /// Commits a receipt for a job that may be open, released or settled before, for any number of units.
    function doCommit(uint256 pick, uint64 units, bool settles, uint8 outcome) external {
        if (held.length != 0) _commit(held[pick % held.length], units, settles, outcome);
    }

    /// Commits all units of some reservation that was given back.
    function doCommitLate(uint256 pick) external {
        for (uint256 i = 0; i < held.length; ++i) {
            Held storage job = held[(pick % held.length + i) % held.length];
            if (job.released && !job.settled) return _commit(job, job.units, true, 1);
        }
    }

    function _commit(Held storage job, uint64 units, bool settles, uint8 outcome) private {
        Receipt memory receipt = newReceipt(job.job, job.grant, uint64(bound(units, 0, 45)));
        receipt.settles = settles;
        receipt.outcome = uint8(bound(outcome, 1, 5));
        uint64 before = ledger.grantOf(job.grant).used;
        bool free = _fits(job, receipt.units);
        commit(receipt);

        bool counts = settles && !job.settled && receipt.units <= job.units
            && !(receipt.outcome == 2 && receipt.units != 0) && (!job.released || free);
        if (counts) {
            job.settled = true;
            unitsSettled[job.grant] += receipt.units;
        }
        if (ledger.grantOf(job.grant).used != before || counts) settledReceipts[job.job] += 1;
    }

    function doForgeReceipt(uint256 pick, uint256 key) external {
        if (held.length == 0) return;
        key = bound(key, 1, type(uint64).max);
        if (key == PROVIDER_KEY) return;
        Held storage job = held[pick % held.length];
        Receipt[] memory receipts = new Receipt[](1);
        receipts[0] = newReceipt(job.job, job.grant, 1);
        try ledger.commit(receipts, sign(address(ledger), batchHash(receipts), key)) {
            forged = true;
        } catch {}
    }

    /// Gives a reservation back and, at times, lets another job take its place.
    function doRelease(uint256 pick, bool refill) external {
        if (held.length == 0) return;
        uint256 place = pick % held.length;
        try ledger.release(held[place].job, held[place].grant) {
            held[place].released = true;
            if (refill) _reserve(held[place].grant, held[place].units, 3600);
        } catch {}
    }

    function doWait(uint32 seconds_) external {
        vm.warp(block.timestamp + bound(seconds_, 1, 4 hours));
    }

    function _fits(Held storage job, uint64 units) private view returns (bool) {
        uint256 taken = unitsSettled[job.grant];
        for (uint256 i = 0; i < held.length; ++i) {
            if (held[i].grant == job.grant && !held[i].settled && !held[i].released) taken += held[i].units;
        }
        return taken + units <= quota[job.grant];
    }
}

/// forge calls every `invariant_` function after every random step.
contract UsageLedgerInvariants is Fixture {
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    Handler private handler;
    IUsageLedger private subject;

    function setUp() public override {
        handler = new Handler();
        handler.setUp();
        subject = handler.ledgerAddress();
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    function targetSelectors() external view returns (FuzzSelector[] memory selected) {
        bytes4[] memory selectors = new bytes4[](12);
        selectors[0] = Handler.doActivate.selector;
        selectors[1] = Handler.doForgeGrant.selector;
        selectors[2] = Handler.doRevoke.selector;
        selectors[3] = Handler.doFreeze.selector;
        selectors[4] = Handler.doReserve.selector;
        selectors[5] = Handler.doCommit.selector;
        selectors[6] = Handler.doForgeReceipt.selector;
        selectors[7] = Handler.doRelease.selector;
        selectors[8] = Handler.doWait.selector;
        selectors[9] = Handler.doCommitLate.selector;
        // Twice as likely as the rest: without reservations there is nothing to settle, release or exceed.
        selectors[10] = Handler.doReserve.selector;
        selectors[11] = Handler.doRelease.selector;
        selected = new FuzzSelector[](1);
        selected[0] = FuzzSelector(address(handler), selectors);
    }

    function invariant_quotaIsNeverExceeded() external view {
        for (uint256 i = 0; i < handler.grantCount(); ++i) {
            IUsageLedger.GrantRecord memory record = subject.grantOf(handler.grants(i));
            assertTrue(uint256(record.used) + record.reserved <= record.quota, "used + reserved <= quota");
            assertTrue(
                uint256(record.epsilonUsed) + record.epsilonReserved <= record.epsilonMicro, "epsilon within bounds"
            );
        }
    }

    function invariant_unitsAreTheSumOfCommittedReceipts() external view {
        for (uint256 i = 0; i < handler.grantCount(); ++i) {
            bytes32 grant = handler.grants(i);
            assertEq(subject.grantOf(grant).used, handler.unitsSettled(grant), "used = sum of settled receipts");
        }
    }

    function invariant_reservedIsTheSumOfOpenReservations() external view {
        for (uint256 i = 0; i < handler.grantCount(); ++i) {
            bytes32 grant = handler.grants(i);
            uint256 open;
            for (uint256 j = 0; j < handler.heldCount(); ++j) {
                (, bytes32 of_, uint64 units,, bool settled, bool released) = handler.held(j);
                if (of_ == grant && !settled && !released) open += units;
            }
            assertEq(subject.grantOf(grant).reserved, open, "reserved = sum of open reservations");
        }
    }

    function invariant_nobodyButTheKeyHolderCreatesWidensOrSigns() external view {
        assertTrue(!handler.forged(), "a forgery passed");
    }

    function invariant_oneSettlingReceiptPerJobAndGrant() external view {
        for (uint256 j = 0; j < handler.heldCount(); ++j) {
            (bytes32 job,,,,,) = handler.held(j);
            assertTrue(handler.settledReceipts(job) <= 1, "settled twice");
        }
    }

    function invariant_noReservationWithoutRight() external view {
        assertTrue(!handler.reservedWithoutRight(), "a grant that had ended took a reservation");
    }
}
