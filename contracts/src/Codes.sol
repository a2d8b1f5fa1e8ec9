// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

// Numbers with a meaning. They are on chain and in contracts/eip712.py: none is ever reused.

library Roles {
    uint32 internal constant PROVIDER = 1;
    uint32 internal constant CONSUMER = 2;
    uint32 internal constant REGULATOR = 4;
    uint32 internal constant OPERATOR = 8;
    uint32 internal constant ALL = 15;
}

library Verbs {
    uint8 internal constant FREEZE = 1;
    uint8 internal constant UNFREEZE = 2;
    uint8 internal constant SUSPEND = 3;
    uint8 internal constant REINSTATE = 4;
}

library Kinds {
    uint8 internal constant TABLE = 1;
    uint8 internal constant SERVICE = 2;
}

library Operations {
    uint32 internal constant ALL = 31; // 1 PSI, 2 statistics, 4 PIR, 8 FL, 16 EaaS
}

library Outcomes {
    uint8 internal constant COMPLETED = 1;
    uint8 internal constant REFUSED = 2;
    uint8 internal constant EXPIRED = 5; // 3 failed, 4 cancelled
}
