"""The attributes of a class as its source has them: in order, each with the string that stands below it."""

from __future__ import annotations

import ast
import inspect
import textwrap
from dataclasses import dataclass


@dataclass(frozen=True)
class Attribute:
    """One annotated or assigned name of a class's body."""

    name: str
    text: str
    """The docstring below it; empty where there is none."""
    factory: str
    """The source of `default_factory=lambda: ...`; empty where there is none."""


def attributes_of(cls: type) -> list[Attribute]:
    """What stands in the class's own body; inherited attributes are not among them."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    assert isinstance(tree, ast.ClassDef)
    found = []
    for statement, after in zip(tree.body, [*tree.body[1:], None], strict=True):
        name = _name(statement)
        if name:
            found.append(Attribute(name, _string(after), _factory(statement)))
    return found


def _name(statement: ast.stmt) -> str:
    if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        return statement.target.id
    if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
        return statement.targets[0].id
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
