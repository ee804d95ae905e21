"""Which variables of a template must be given: those that it uses without having looked whether they are."""

from __future__ import annotations

from collections.abc import Iterable

from jinja2 import nodes

Names = frozenset[str]

_NONE: Names = frozenset()


def required_names(tree: nodes.Template) -> Names:
    """Names used outside of ``is defined`` branches and without ``default(...)``, local ones among them."""
    walk = _Walk()
    walk.statements(tree.body, _NONE)
    return frozenset(walk.found)


class _Walk:
    """Follows a template from top to bottom; `known` are the names that are defined wherever it is."""

    def __init__(self) -> None:
        self.found: set[str] = set()

    def statements(self, body: Iterable[nodes.Node], known: Names) -> Names:
        """The names known after `body`."""
        for node in body:
            known = self._statement(node, known)
        return known

    def _statement(self, node: nodes.Node, known: Names) -> Names:
        if isinstance(node, nodes.If):
            return self._branches(node, known)
        if isinstance(node, nodes.Assign | nodes.AssignBlock):
            self._inside(node, known)
            return known | {target.name for target in _targets(node.target)}
        if isinstance(node, nodes.Expr):
            self._expression(node, known)
        else:  # what it sets, it sets for itself
            self._inside(node, known)
        return known

    def _inside(self, node: nodes.Node, known: Names) -> None:
        self.statements(node.iter_child_nodes(), known)

    def _branches(self, node: nodes.If, known: Names) -> Names:
        ends = []
        for branch in (node, *node.elif_):
            self._expression(branch.test, known)
            ends.append(self.statements(branch.body, known | _holding(branch.test)))
            known |= _failing(branch.test)
        ends.append(self.statements(node.else_, known))
        return frozenset.intersection(*ends)

    def _expression(self, node: nodes.Node, known: Names) -> None:
        if isinstance(node, nodes.Name):
            if node.ctx == "load" and node.name not in known:
                self.found.add(node.name)
        elif isinstance(node, nodes.Test | nodes.Filter) and _looks(node):
            self.statements((child for child in node.iter_child_nodes() if child is not node.node), known)
        elif isinstance(node, nodes.CondExpr):
            self._expression(node.test, known)
            self._expression(node.expr1, known | _holding(node.test))
            if node.expr2 is not None:
                self._expression(node.expr2, known | _failing(node.test))
        elif isinstance(node, nodes.And | nodes.Or):
            self._expression(node.left, known)
            more = _holding(node.left) if isinstance(node, nodes.And) else _failing(node.left)
            self._expression(node.right, known | more)
        else:
            self._inside(node, known)


def _targets(node: nodes.Node) -> Iterable[nodes.Name]:
    return [node] if isinstance(node, nodes.Name) else node.find_all(nodes.Name)


def _looks(node: nodes.Test | nodes.Filter) -> bool:
    """Whether it looks if a variable is defined, which needs none."""
    looking = ("defined", "undefined") if isinstance(node, nodes.Test) else ("default", "d")
    return node.name in looking and isinstance(node.node, nodes.Name)


def _holding(test: nodes.Node) -> Names:
    """Names that are defined where `test` holds."""
    return _known_by(test, holds=True)


def _failing(test: nodes.Node) -> Names:
    """Names that are defined where `test` does not hold."""
    return _known_by(test, holds=False)


def _known_by(test: nodes.Node, *, holds: bool) -> Names:
    if isinstance(test, nodes.Test) and isinstance(test.node, nodes.Name):
        return frozenset([test.node.name]) if test.name == ("defined" if holds else "undefined") else _NONE
    if isinstance(test, nodes.Not):
        return _known_by(test.node, holds=not holds)
    if isinstance(test, nodes.And | nodes.Or):
        left, right = (_known_by(each, holds=holds) for each in (test.left, test.right))
        # Of "a and b" both hold; of "a or b" both fail.
        return left | right if isinstance(test, nodes.And) is holds else left & right
    return _NONE
