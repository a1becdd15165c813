"""The deliberate errors of ``tests/mutations.py`` fit the package and the tests as they are."""

import ast
from pathlib import Path

import pytest
from mutations import MUTATIONS, ROOT

TESTS = Path(__file__).parent


def described(mutation):
    return mutation.what


@pytest.mark.parametrize("mutation", MUTATIONS, ids=described)
def test_the_right_line_is_there_once_and_the_test_exists(mutation):
    """A mutation of a line that has changed since, or whose test has moved, finds nothing."""
    assert (ROOT / "minizo" / mutation.file).read_text().count(mutation.right) == 1
    assert mutation.wrong != mutation.right
    file, test = mutation.test.partition("[")[0].split("::")
    tree = ast.parse((TESTS / file).read_text())
    assert test in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
