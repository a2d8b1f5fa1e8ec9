// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

struct Log {
    bytes32[] topics;
    bytes data;
    address emitter;
}

/// The cheat codes that these tests use, out of forge's interface.
interface Vm {
    function addr(uint256 privateKey) external pure returns (address);
    function sign(uint256 privateKey, bytes32 digest) external pure returns (uint8 v, bytes32 r, bytes32 s);
    function warp(uint256 timestamp) external;
    function prank(address sender) external;
    function expectRevert(bytes calldata data) external;
    function expectPartialRevert(bytes4 selector) external;
    function assume(bool condition) external pure;
    function recordLogs() external;
    function getRecordedLogs() external returns (Log[] memory);
    function snapshotGasLastCall(string calldata group, string calldata name) external returns (uint256);
}

/// Assertions that say what differs.
abstract contract Test {
    Vm internal constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
    // forge looks for this flag.
    bool public IS_TEST = true;

    error Different(string what, uint256 left, uint256 right);
    error DifferentBytes(string what, bytes32 left, bytes32 right);
    error Untrue(string what);

    function assertEq(uint256 left, uint256 right, string memory what) internal pure {
        if (left != right) revert Different(what, left, right);
    }

    function assertEq(bytes32 left, bytes32 right, string memory what) internal pure {
        if (left != right) revert DifferentBytes(what, left, right);
    }

    function assertEq(address left, address right, string memory what) internal pure {
        if (left != right) revert DifferentBytes(what, bytes32(bytes20(left)), bytes32(bytes20(right)));
    }

    function assertTrue(bool condition, string memory what) internal pure {
        if (!condition) revert Untrue(what);
    }

    /// A value in a closed range, from any fuzzed number.
    function bound(uint256 value, uint256 low, uint256 high) internal pure returns (uint256) {
        return low + value % (high - low + 1);
    }
}
