// Chains of 32-bit additions and 32x32-bit multiply-adds that hand a carry on.
//
// On the GPU the carry is PTX's condition code: the assembler turns it into predicate registers and fuses the
// pair mad.lo.cc / madc.hi.cc on an aligned register pair into one IMAD.WIDE.U32.X. Statements of a chain must
// follow each other without other chains in between. On the host the carry lives in the variable `cc`.
#pragma once
#include "platform.cuh"

#if defined(ON_GPU)

struct Carry {};

// (hi:lo) += x * y, first of a chain: sets the carry.
FUNCTION void mad_wide_cc(u32 &lo, u32 &hi, u32 x, u32 y, Carry &) {
    asm volatile("mad.lo.cc.u32 %0, %2, %3, %0;\n\tmadc.hi.cc.u32 %1, %2, %3, %1;"
                 : "+r"(lo), "+r"(hi) : "r"(x), "r"(y));
}
// (hi:lo) += x * y + carry: takes and sets the carry.
FUNCTION void madc_wide_cc(u32 &lo, u32 &hi, u32 x, u32 y, Carry &) {
    asm volatile("madc.lo.cc.u32 %0, %2, %3, %0;\n\tmadc.hi.cc.u32 %1, %2, %3, %1;"
                 : "+r"(lo), "+r"(hi) : "r"(x), "r"(y));
}
FUNCTION u32 add_cc(u32 x, u32 y, Carry &) {
    u32 r;
    asm volatile("add.cc.u32 %0, %1, %2;" : "=r"(r) : "r"(x), "r"(y));
    return r;
}
FUNCTION u32 addc_cc(u32 x, u32 y, Carry &) {
    u32 r;
    asm volatile("addc.cc.u32 %0, %1, %2;" : "=r"(r) : "r"(x), "r"(y));
    return r;
}
// Takes the carry, ends the chain.
FUNCTION u32 addc(u32 x, u32 y, Carry &) {
    u32 r;
    asm volatile("addc.u32 %0, %1, %2;" : "=r"(r) : "r"(x), "r"(y));
    return r;
}
FUNCTION u32 sub_cc(u32 x, u32 y, Carry &) {
    u32 r;
    asm volatile("sub.cc.u32 %0, %1, %2;" : "=r"(r) : "r"(x), "r"(y));
    return r;
}
FUNCTION u32 subc_cc(u32 x, u32 y, Carry &) {
    u32 r;
    asm volatile("subc.cc.u32 %0, %1, %2;" : "=r"(r) : "r"(x), "r"(y));
    return r;
}
FUNCTION u32 subc(u32 x, u32 y, Carry &) {
    u32 r;
    asm volatile("subc.u32 %0, %1, %2;" : "=r"(r) : "r"(x), "r"(y));
    return r;
}

#else

struct Carry {
    u32 bit;
};

FUNCTION void host_mad(u32 &lo, u32 &hi, u32 x, u32 y, u32 carry_in, Carry &cc) {
    u64 sum, have = (u64)hi << 32 | lo;
    // x * y + carry <= 2^64 - 2^33 + 2 cannot overflow.
    cc.bit = __builtin_add_overflow((u64)x * y + carry_in, have, &sum);
    lo = (u32)sum;
    hi = (u32)(sum >> 32);
}
FUNCTION void mad_wide_cc(u32 &lo, u32 &hi, u32 x, u32 y, Carry &cc) { host_mad(lo, hi, x, y, 0, cc); }
FUNCTION void madc_wide_cc(u32 &lo, u32 &hi, u32 x, u32 y, Carry &cc) { host_mad(lo, hi, x, y, cc.bit, cc); }
FUNCTION u32 addc_cc(u32 x, u32 y, Carry &cc) {
    u64 sum = (u64)x + y + cc.bit;
    cc.bit = (u32)(sum >> 32);
    return (u32)sum;
}
FUNCTION u32 add_cc(u32 x, u32 y, Carry &cc) {
    cc.bit = 0;
    return addc_cc(x, y, cc);
}
FUNCTION u32 addc(u32 x, u32 y, Carry &cc) { return x + y + cc.bit; }
FUNCTION u32 subc_cc(u32 x, u32 y, Carry &cc) {
    u64 difference = (u64)x - y - cc.bit;
    cc.bit = (u32)(difference >> 63);
    return (u32)difference;
}
FUNCTION u32 sub_cc(u32 x, u32 y, Carry &cc) {
    cc.bit = 0;
    return subc_cc(x, y, cc);
}
FUNCTION u32 subc(u32 x, u32 y, Carry &cc) { return x - y - cc.bit; }

#endif
