"""A mutant without a new process: the code of a module's functions exchanged where they are, for all who hold them already."""

import ast
from collections.abc import Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any


def only_in_functions(source: str, mutant: str) -> bool:
    """Whether the two differ in nothing but what functions do when they are called."""
    return _around_functions(source) == _around_functions(mutant)


def _around_functions(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = []
    return ast.dump(tree)


def exchange(module: ModuleType, mutant: str) -> None:
    """Give each function and method of the module the code that it has in the mutant. Raises `LookupError` for one without."""
    assert module.__file__ is not None
    codes = dict(_codes(compile(mutant, module.__file__, "exec", dont_inherit=True)))
    for function in _functions(vars(module), module.__name__):
        if function.__qualname__ in codes:
            function.__code__ = codes.pop(function.__qualname__)
    if codes:
        raise LookupError(f"{module.__name__}: {', '.join(codes)} not found in the module as it runs")


def _codes(code: CodeType) -> Iterator[tuple[str, CodeType]]:
    """Of the functions that are in no other function, by their qualified names."""
    for each in code.co_consts:
        if not isinstance(each, CodeType):
            continue
        if "<locals>" in each.co_qualname or each.co_name.startswith("<"):
            continue
        # a body of a class runs once, when the module is imported
        if each.co_flags & 0x1:
            yield each.co_qualname, each
        else:
            yield from _codes(each)


def _functions(space: Any, module: str) -> Iterator[FunctionType]:
    for each in list(space.values()):
        for found in (each, getattr(each, "fget", None), getattr(each, "__func__", None)):
            # a decorator's own function passes for the one that it wraps
            while hasattr(found, "__wrapped__"):
                found = found.__wrapped__
            if isinstance(found, FunctionType) and found.__module__ == module:
                yield found
        if isinstance(each, type) and each.__module__ == module:
            yield from _functions(vars(each), module)
