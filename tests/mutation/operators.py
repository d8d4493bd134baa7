"""The operators that make mutants: a selection of cosmic-ray's operators, and three of our own."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import parso
from cosmic_ray import plugins
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Mutant", "mutants"]

Position = tuple[tuple[int, int], tuple[int, int]]

# Each binary operator becomes one other operator. Cosmic-ray offers eleven replacements for each
# operator, but most of them raise a TypeError. `|` is left out, because it also combines types.
_BINARY = {"Add_Sub", "Sub_Add", "Mul_FloorDiv", "FloorDiv_Mul", "Div_Mul", "Pow_Mul"}
# A comparison becomes every other comparison of its kind. One kind is `is` and `is not`; the other
# kind is `==`, `!=`, `<`, `<=`, `>` and `>=`.
_COMPARISON = re.compile("(Is_IsNot|IsNot_Is|(Eq|NotEq|Lt|LtE|Gt|GtE)_(Eq|NotEq|Lt|LtE|Gt|GtE))")
_OTHER_OPERATORS = {
    "AddNot",
    "ReplaceTrueWithFalse",
    "ReplaceFalseWithTrue",
    "ReplaceAndWithOr",
    "ReplaceOrWithAnd",
    "ReplaceBreakWithContinue",
    "ReplaceContinueWithBreak",
    "ReplaceUnaryOperator_Delete_Not",
    "ReplaceUnaryOperator_Delete_USub",
    "ExceptionReplacer",
    "NumberReplacer",
    "ZeroIterationForLoop",
}
# The kinds of statements that `DropStatement` drops. Definitions, imports and docstrings remain.
_DROPPABLE = {
    *("assert_stmt", "atom_expr", "await", "del_stmt", "expr_stmt", "raise_stmt"),
    *("return_stmt", "yield_expr"),
}


class DropStatement:
    """Leave out one statement of a function."""

    def mutation_positions(self, node: Any) -> Iterator[Position]:
        """Yield the positions in `node` that this operator can change."""
        if node.type == "simple_stmt":
            statement = node.children[0]
            kept = statement.type not in _DROPPABLE and getattr(statement, "value", "") != "return"
            if not kept and _within(node, "funcdef"):
                yield statement.start_pos, statement.end_pos

    def mutate(self, node: Any, _index: int) -> Any:
        """Make the change of this operator in `node`, and return `node`."""
        statement = node.children[0]
        prefix = statement.get_first_leaf().prefix
        node.children[0] = parso.python.tree.Name("pass", statement.start_pos, prefix)
        return node


class DropKeywordArgument:
    """Leave out one keyword argument of a call, so that its default applies."""

    def mutation_positions(self, node: Any) -> Iterator[Position]:
        """Yield the positions in `node` that this operator can change."""
        if not _within(node, "decorator"):
            for argument in self._arguments(node):
                yield argument.start_pos, argument.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        """Make the change of this operator in `node`, and return `node`."""
        place = node.children.index(self._arguments(node)[index])
        # The comma after the argument is removed too; the comma before a last argument remains.
        del node.children[place : place + (2 if node.type == "arglist" else 1)]
        return node

    def _arguments(self, node: Any) -> list[Any]:
        if node.type not in ("arglist", "trailer"):
            return []
        return [
            child
            for child in node.children
            if child.type == "argument" and child.children[1].type == "operator"
            if child.children[1].value == "="
        ]


class ForgetOldValue:
    """Replace `a += b` by `a = b`."""

    def mutation_positions(self, node: Any) -> Iterator[Position]:
        """Yield the positions in `node` that this operator can change."""
        if node.type == "expr_stmt" and self._operator(node):
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, _index: int) -> Any:
        """Make the change of this operator in `node`, and return `node`."""
        self._operator(node).value = "="
        return node

    def _operator(self, node: Any) -> Any:
        operator = node.children[1]
        return operator if re.fullmatch(r"[^=]+=", getattr(operator, "value", "")) else None


@dataclass(frozen=True)
class Mutant:
    """The source of a module with one change.

    `where` is the changed function or class. `before` and `after` are the changed lines without
    their indentation.
    """

    source: str
    where: str
    before: str
    after: str


def mutants(source: str) -> Iterator[Mutant]:
    """Yield every mutant of a module once."""
    seen = {source}
    for kind in _operators():
        operator = kind()
        nodes = [
            node for node in ast_nodes(get_ast(source)) for _ in operator.mutation_positions(node)
        ]
        for occurrence, node in enumerate(nodes):
            if _is_for_type_checkers(node):
                continue
            mutated = mutate_code(source, kind(), occurrence)
            if mutated not in seen and _compiles(mutated):
                seen.add(mutated)
                yield Mutant(mutated, _place(node), *_difference(source, mutated))


def _operators() -> list[type]:
    operators: list[type] = [DropStatement, DropKeywordArgument, ForgetOldValue]
    for name in plugins.operator_names():
        short = name.removeprefix("core/")
        binary = short.removeprefix("ReplaceBinaryOperator_") in _BINARY
        comparison = _COMPARISON.fullmatch(short.removeprefix("ReplaceComparisonOperator_"))
        if binary or comparison or short in _OTHER_OPERATORS:
            operators.append(plugins.get_operator(name))
    return operators


def _compiles(source: str) -> bool:
    try:
        compile(source, "mutant", "exec")
    except SyntaxError:  # an operator changed the `*` of a signature as if it were a product
        return False
    return True


def _within(node: Any, kind: str) -> bool:
    while node is not None and node.type != kind:
        node = node.parent
    return node is not None


def _is_for_type_checkers(node: Any) -> bool:
    while node is not None:
        if node.type == "if_stmt" and "TYPE_CHECKING" in node.children[1].get_code():
            return True
        node = node.parent
    return False


def _place(node: Any) -> str:
    names: list[str] = []
    while node is not None:
        if node.type in ("funcdef", "classdef"):
            names.insert(0, node.name.value)
        node = node.parent
    return ".".join(names)


def _difference(source: str, mutated: str) -> tuple[str, str]:
    before, after = source.split("\n"), mutated.split("\n")
    while before and after and before[0] == after[0]:
        del before[0], after[0]
    while before and after and before[-1] == after[-1]:
        del before[-1], after[-1]
    return _joined(before), _joined(after)


def _joined(lines: list[str]) -> str:
    return " ".join(line.strip() for line in lines)
