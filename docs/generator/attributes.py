"""The attributes of a class as its source has them: in order, each with the string that stands below it."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Attribute:
    """One annotated or assigned name of a class's body, or of its instances."""

    name: str
    text: str
    """The docstring below it; empty where there is none."""
    factory: str = ""
    """The source of `default_factory=lambda: ...`; empty where there is none."""


def attributes_of(cls: type) -> list[Attribute]:
    """What stands in the class's own body; inherited attributes are not among them."""
    return list(_attributes(_body(cls)))


def instance_attributes_of(cls: type) -> list[Attribute]:
    """What the class's own `__init__` sets for others to read, and its properties with their docstrings."""
    methods = [one for one in _body(cls) if isinstance(one, ast.FunctionDef)]
    set_there = [one for method in methods if method.name == "__init__" for one in _attributes(method.body)]
    properties = [
        Attribute(method.name, ast.get_docstring(method) or "")
        for method in methods
        if any(isinstance(one, ast.Name) and one.id == "property" for one in method.decorator_list)
    ]
    return [one for one in (*set_there, *properties) if not one.name.startswith("_")]


def _body(cls: type) -> Sequence[ast.stmt]:
    tree = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    assert isinstance(tree, ast.ClassDef)
    return tree.body


def _attributes(body: Sequence[ast.stmt]) -> Iterator[Attribute]:
    for statement, after in zip(body, [*body[1:], None], strict=True):
        if name := _name(statement):
            yield Attribute(name, _string(after), _factory(statement))


def _name(statement: ast.stmt) -> str:
    match statement:
        case ast.AnnAssign(target=ast.Name(name)) | ast.Assign(targets=[ast.Name(name)]):
            return name
        case ast.AnnAssign(target=ast.Attribute(attr=name)) | ast.Assign(targets=[ast.Attribute(attr=name)]):
            return name
    return ""


def _string(statement: ast.stmt | None) -> str:
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return inspect.cleandoc(str(statement.value.value))
    return ""


def _factory(statement: ast.stmt) -> str:
    factories = [
        one.value for one in ast.walk(statement) if isinstance(one, ast.keyword) and one.arg == "default_factory"
    ]
    return ast.unparse(factories[0].body) if factories and isinstance(factories[0], ast.Lambda) else ""
