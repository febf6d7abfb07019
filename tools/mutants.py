"""The mutants of a Python file: small changes of its text, each of which a good test notices.

    mutants("posezoo/nn/losses.py", text)     all of them, in the order of the file

Changes are made by position, so the rest of the text stays as it is. Left alone: annotations, docstrings and other
texts, decorators, what stands under `if TYPE_CHECKING`, and the insides of f-strings.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from itertools import pairwise

Operator = type[ast.cmpop] | type[ast.operator] | type[ast.boolop]

COMPARISONS: dict[Operator, tuple[tuple[str, str], ...]] = {  # the boundary first, then the opposite
    ast.Lt: (("<", "<="), ("<", ">=")),
    ast.LtE: (("<=", "<"), ("<=", ">")),
    ast.Gt: ((">", ">="), (">", "<=")),
    ast.GtE: ((">=", ">"), (">=", "<")),
    ast.Eq: (("==", "!="),),
    ast.NotEq: (("!=", "=="),),
    ast.Is: (("is", "is not"),),
    ast.IsNot: (("is not", "is"),),
    ast.In: (("in", "not in"),),
    ast.NotIn: (("not in", "in"),),
}
ARITHMETIC: dict[Operator, tuple[str, str]] = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "*"),
    ast.Mod: ("%", "*"),
    ast.Pow: ("**", "*"),
    ast.BitAnd: ("&", "|"),
    ast.BitOr: ("|", "&"),
}
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Mutant:
    """One change: the bytes `start` to `end` of `file` become `new`."""

    file: str
    line: int
    kind: str
    start: int
    end: int
    old: str
    new: str
    text: str
    """The line that is changed, as it stands."""
    scope: tuple[int, int]
    """First and last line of the statement; a test that runs none of these lines cannot notice the change."""

    @property
    def change(self) -> str:
        """What becomes what, on one line."""
        return " -> ".join((" ".join(part.split())[:60] or "nothing") for part in (self.old, self.new))

    def applied(self, text: str) -> str:
        """The file's text with the change."""
        source = text.encode()
        return (source[: self.start] + self.new.encode() + source[self.end :]).decode()


def mutants(file: str, text: str) -> list[Mutant]:
    """All mutants of a file, those left out whose text does not parse or says the same."""
    tree = ast.parse(text)
    finder = _Finder(file, text, (1, text.count("\n") + 1))
    finder.visit(tree)
    original = ast.dump(tree)
    return [mutant for mutant in finder.found if _differs(mutant.applied(text), original)]


def _differs(text: str, original: str) -> bool:
    try:
        return ast.dump(ast.parse(text)) != original
    except SyntaxError:
        return False


@dataclass
class _Finder:
    """Walks the tree of a file. `scope`: the lines of the statement it is in; outside functions, all of the file."""

    file: str
    text: str
    scope: tuple[int, int]
    inside: bool = False
    """In a function's body."""
    found: list[Mutant] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.source = self.text.encode()
        self.lines = self.source.splitlines(keepends=True)
        self.starts = [0]
        for line in self.lines:
            self.starts.append(self.starts[-1] + len(line))

    def visit(self, node: ast.AST) -> None:
        outer = self.scope, self.inside
        if isinstance(node, Function):
            self.scope, self.inside = (node.body[0].lineno, node.end_lineno or node.lineno), True
        elif isinstance(node, ast.stmt) and self.inside:
            body = getattr(node, "body", None)
            self.scope = node.lineno, body[0].lineno - 1 if body else node.end_lineno or node.lineno
            self.scope = self.scope[0], max(self.scope)
        self._look(node)
        for name, value in ast.iter_fields(node):
            if name not in ("annotation", "returns", "decorator_list"):
                for child in value if isinstance(value, list) else [value]:
                    if isinstance(child, ast.AST) and not _left_alone(child):
                        self.visit(child)
        self.scope, self.inside = outer

    def _look(self, node: ast.AST) -> None:
        """Note the mutants of one node."""
        match node:
            case ast.Compare():
                for left, operator, right in zip([node.left, *node.comparators], node.ops, node.comparators):  # noqa: B905
                    for old, new in COMPARISONS[type(operator)]:
                        self._between("comparison", left, right, old, new)
            case ast.BinOp() | ast.AugAssign():
                left, right = (node.left, node.right) if isinstance(node, ast.BinOp) else (node.target, node.value)
                texts = any(isinstance(part, ast.JoinedStr) or _is(part, str) for part in (left, right))
                if type(node.op) in ARITHMETIC and not texts:  # of texts and paths: a TypeError at once
                    self._between("arithmetic", left, right, *ARITHMETIC[type(node.op)])
            case ast.BoolOp():
                old, new = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
                self._between("boolean", node.values[0], node.values[1], old, new)
                if old == "or":
                    self._replace("default", node, self._of(node.values[0]))
            case ast.UnaryOp(op=ast.Not() | ast.USub()):
                self._replace("boolean" if isinstance(node.op, ast.Not) else "arithmetic", node, self._of(node.operand))
            case ast.If() | ast.While() | ast.IfExp():
                if not (isinstance(node.test, ast.UnaryOp | ast.Compare)):  # these have an opposite of their own
                    self._replace("boolean", node.test, f"(not ({self._of(node.test)}))")
            case ast.Constant(value=bool() as value):
                self._replace("constant", node, str(not value))
            case ast.Constant(value=int() | float() as value):
                self._replace("constant", node, str(value + 1))
            case ast.Return(value=ast.expr() as said) if not _is(said, type(None)):
                self._replace("return", said, "None")
            case ast.Call():
                self._of_call(node)
        if isinstance(node, ast.AugAssign) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
            self._replace("removed", node, "pass")

    def _of_call(self, node: ast.Call) -> None:
        for first, second in pairwise(node.args):
            alike = type(first) is type(second) and not isinstance(first, ast.Starred)
            if alike and not (isinstance(node.func, ast.Name) and node.func.id == "isinstance"):
                between = self.source[self._end(first) : self._start(second)].decode()
                new = self._of(second) + between + self._of(first)
                self._note("swapped", self._start(first), self._end(second), new, first.lineno)
                break
        for keyword in node.keywords:
            if keyword.arg:
                start, end = self._start(keyword), self._end(keyword)
                after = re.match(rb"\s*,\s*", self.source[end:])
                before = re.search(rb",\s*$", self.source[:start])
                if after:
                    end += after.end()
                elif before:
                    start = before.start()
                self._note("keyword", start, end, "", keyword.lineno)

    def _between(self, kind: str, left: ast.expr, right: ast.expr, old: str, new: str) -> None:
        """An operator is the first of its text between two operands."""
        start = self._end(left)
        pattern = re.sub(r"\\? ", r"\\s+", re.escape(old))
        found = re.search(pattern.encode(), self.source[start : self._start(right)])
        if found:
            line = left.end_lineno or left.lineno
            line += self.source[start : start + found.start()].count(b"\n")
            self._note(kind, start + found.start(), start + found.end(), new, line)

    def _replace(self, kind: str, node: ast.expr | ast.stmt, new: str) -> None:
        self._note(kind, self._start(node), self._end(node), new, node.lineno)

    def _note(self, kind: str, start: int, end: int, new: str, line: int) -> None:
        old, text = self.source[start:end].decode(), self.lines[line - 1].decode().strip()
        self.found.append(Mutant(self.file, line, kind, start, end, old, new, text, self.scope))

    def _start(self, node: ast.expr | ast.stmt | ast.keyword) -> int:
        return self.starts[node.lineno - 1] + node.col_offset

    def _end(self, node: ast.expr | ast.stmt | ast.keyword) -> int:
        return self.starts[(node.end_lineno or node.lineno) - 1] + (node.end_col_offset or 0)

    def _of(self, node: ast.expr) -> str:
        return self.source[self._start(node) : self._end(node)].decode()


def _is(node: ast.AST, kind: type) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, kind)


def _left_alone(node: ast.AST) -> bool:
    """f-strings (their positions are wrong before Python 3.12) and imports for type checkers."""
    types_only = isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    return types_only or isinstance(node, ast.JoinedStr)
