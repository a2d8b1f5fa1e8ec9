"""Field values in memory, and what needs memory: called products and powers (`accel.cpu.field256`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

from llvmlite import ir
from numba.core import cgutils

from accel.cpu.field256 import STORED, Arithmetic, Value, hold
from accel.cpu.ir import I32, I64, load, store
from accel.cpu.vector_words import Level

_PASSED = Fraction(4)  # the bound of operands and results of called functions, in multiples of m


class Field(Arithmetic):
    """Arithmetic that keeps values in memory and in functions of the module."""

    def sqr(self, a: Value) -> Value:
        if self.level.by_call:
            return self._called("square", lambda f, x: f._square(x), [a])
        return self._square(a)

    def power(self, a: Value, exponent: int) -> Value:
        """Runs of ones of the exponent in chunks a^(2^k - 1); calls two small functions, by memory."""
        builder, slot = self.level.builder, self._slot
        ones = {1: slot()}
        self.save(ones[1], a)
        square, multiply = self._square_times(), self._multiply()
        for k in (2, 4, 8, 16, 32):
            ones[k] = slot()
            builder.call(square, [ones[k], ones[k // 2], I32(k // 2)])
            builder.call(multiply, [ones[k], ones[k], ones[k // 2]])
        total, started, pending = slot(), False, 0
        bits = bin(exponent)[2:]
        at = 0
        while at < len(bits):
            run = len(bits[at:]) - len(bits[at:].lstrip("1"))
            if not run:
                at, pending = at + 1, pending + 1
                continue
            k = max(k for k in ones if k <= run)
            if started:
                builder.call(square, [total, total, I32(pending + k)])
                builder.call(multiply, [total, total, ones[k]])
            else:
                builder.call(square, [total, ones[k], I32(0)])
            at, started, pending = at + k, True, 0
        if pending:
            builder.call(square, [total, total, I32(pending)])
        return self.load(total)

    def load(self, memory: Any, at: Any = 0, high: Fraction = STORED) -> Value:
        """The stored value number ``at`` behind a pointer to vectors."""
        ways, base = self.level.ways, self._element(memory, at)
        places = [[limb * ways + way for way in range(ways)] for limb in range(self.level.limbs)]
        result = self.loaded([[load(self.level.builder, base, i) for i in word] for word in places], high)
        result.memory = base
        return result

    def save(self, memory: Any, a: Value, at: Any = 0) -> None:
        self._put(self._element(memory, at), self.loaded(self.stored(a)))

    def _element(self, memory: Any, at: Any) -> Any:
        if isinstance(at, int) and at == 0:
            return memory
        count = self.level.limbs * self.level.ways
        builder = self.level.builder
        index = I64(at * count) if isinstance(at, int) else builder.mul(at, at.type(count))
        return builder.gep(memory, [index])

    def _square_times(self) -> Any:
        """f(out, in, n): out = in^(2^n), in registers."""
        vectors = self.level.kind.as_pointer()

        def emit(inner: Field, out: Any, source: Any, times: Any) -> None:
            builder = inner.level.builder
            start = [vector for word in inner.load(source).limbs for vector in word]
            entry, loop, end = builder.block, builder.append_basic_block(), builder.append_basic_block()
            builder.cbranch(builder.icmp_signed(">", times, I32(0)), loop, end)
            builder.position_at_end(loop)
            left = builder.phi(I32)
            state = [builder.phi(inner.level.kind) for _ in start]
            after = [x for word in inner.stored(inner._square(inner._grouped(state))) for x in word]
            fewer = builder.sub(left, I32(1))
            for phi, first, then in zip((left, *state), (times, *start), (fewer, *after), strict=True):
                phi.add_incoming(first, entry)
                phi.add_incoming(then, builder.block)
            builder.cbranch(builder.icmp_signed(">", fewer, I32(0)), loop, end)
            latch = builder.block
            builder.position_at_end(end)
            last = [builder.phi(inner.level.kind) for _ in start]
            for phi, first, then in zip(last, start, after, strict=True):
                phi.add_incoming(first, entry)
                phi.add_incoming(then, latch)
            inner.save(out, inner._grouped(last))

        return self.function("square_times", [vectors, vectors, I32], emit)

    def _multiply(self) -> Any:
        def emit(inner: Field, out: Any, a: Any, b: Any) -> None:
            inner.save(out, inner._products([inner.load(a), inner.load(b)]))

        return self.function("multiply", [self.level.kind.as_pointer()] * 3, emit)

    def function(self, name: str, arguments: list[Any], emit: Callable[..., None]) -> Any:
        """A function of this module that is compiled once, whatever number of places call it."""
        module = self.level.builder.module
        full = f"{self.name}.{self.level.name}.{self.level.ways}.{name}"
        if full in module.globals:
            return module.globals[full]
        made = ir.Function(module, ir.FunctionType(ir.VoidType(), arguments), full)
        made.linkage = "internal"
        made.attributes.add("noinline")
        builder = ir.IRBuilder(made.append_basic_block())
        level = type(self.level)(builder, self.level.ways, by_call=self.level.by_call)
        emit(self.on(level), *made.args)
        builder.ret_void()
        return made

    def on(self, level: Level) -> Field:
        """The same field emitting elsewhere."""
        return type(self)(level, self.modulus, self.name, getattr(self, "curve", None))

    def _grouped(self, vectors: list[Any]) -> Value:
        ways = self.level.ways
        return self.loaded([vectors[at : at + ways] for at in range(0, len(vectors), ways)])

    def _sum_of_products(self, *factors: Value) -> Value:
        if self.level.by_call:
            return self._called(f"products_{len(factors)}", lambda f, *x: f._products(x), factors)
        return self._products(factors)

    def _called(self, name: str, operation: Callable[..., Value], operands: Sequence[Value]) -> Value:
        """By a function call, where the instructions of a product are too many to repeat."""

        def emit(inner: Field, out: Any, *sources: Any) -> None:
            result = inner.carry(operation(inner, *(inner.load(source, high=_PASSED) for source in sources)))
            hold(result.high <= _PASSED, "a result is too large to pass on")
            inner._put(out, result)

        memory = self._slot()
        kinds = [self.level.kind.as_pointer()] * (1 + len(operands))
        made = self.function(name, kinds, emit)
        self.level.builder.call(made, [memory, *map(self._passed, operands)])
        return self.load(memory, high=_PASSED)

    def _passed(self, a: Value) -> Any:
        a = self.carry(a)
        if a.high > _PASSED:
            a = self.carry(a, reduce=True)
        if a.memory is None:
            a.memory = self._slot()
            self._put(a.memory, a)
        return a.memory

    def _slot(self) -> Any:
        count = I32(self.level.limbs * self.level.ways)
        return cgutils.alloca_once(self.level.builder, self.level.kind, size=count)

    def _put(self, memory: Any, a: Value) -> None:
        for index, vector in enumerate(vector for word in a.limbs for vector in word):
            store(self.level.builder, memory, index, vector)
