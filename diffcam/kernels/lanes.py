"""Four float64 numbers, three colours and a weight, added as one SIMD operation: numba alone emits four scalar ones."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

LANES = 4
"""Numbers of one vector: red, green, blue and weight."""

_intrinsic: Any = intrinsic
"""Untyped: numba's annotation counts the typing context among the arguments of a call."""

ZERO = ir.Constant(ir.IntType(64), 0)
"""Index of the first number of an array, as an LLVM constant."""


def _splat(builder: ir.IRBuilder, scalar: ir.Value) -> ir.Value:
    """Four times the same scalar."""
    vector = ir.Constant(ir.VectorType(ir.DoubleType(), LANES), ir.Undefined)
    for lane in range(LANES):
        vector = builder.insert_element(vector, scalar, ir.Constant(ir.IntType(32), lane))
    return vector


def _place(context: Any, builder: ir.IRBuilder, array_type: Any, array: ir.Value, index: ir.Value) -> ir.Value:
    """Pointer to the four numbers of a flat array that start at ``index``."""
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), ir.VectorType(ir.DoubleType(), LANES).as_pointer())


def _add_at(builder: ir.IRBuilder, place: ir.Value, value: ir.Value) -> None:
    """``*place += value``; the numbers are aligned as doubles, not as vectors."""
    old = builder.load(place, align=8)
    builder.store(builder.fadd(old, value, flags=("contract",)), place, align=8)


@_intrinsic
def add_lanes(typing_context: Any, sums: Any, index: Any, weight: Any, lanes: Any) -> Any:
    """``sums[index : index + 4] += weight * lanes[:4]``."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        values = builder.load(_place(context, builder, signature.args[3], args[3], ZERO), align=8)
        product = builder.fmul(values, _splat(builder, args[2]), flags=("contract",))
        _add_at(builder, _place(context, builder, signature.args[0], args[0], args[1]), product)
        return context.get_dummy_value()

    return types.void(sums, types.uintp, types.float64, lanes), generate


@_intrinsic
def add_difference(typing_context: Any, lanes: Any, weight: Any, sums: Any, start: Any, end: Any) -> Any:
    """``lanes[:4] += weight * (sums[start : start + 4] - sums[end : end + 4])``."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        ends = [
            builder.load(_place(context, builder, signature.args[2], args[2], index), align=8) for index in args[3:]
        ]
        difference = builder.fsub(*ends, flags=("contract",))
        product = builder.fmul(difference, _splat(builder, args[1]), flags=("contract",))
        _add_at(builder, _place(context, builder, signature.args[0], args[0], ZERO), product)
        return context.get_dummy_value()

    return types.void(lanes, types.float64, sums, types.uintp, types.uintp), generate
