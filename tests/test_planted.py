"""The planted bugs still fit the sources: each old text stands there exactly once. Hunting them is a command."""

from __future__ import annotations

import ast

import pytest
from planted import ROOT, Bug, bugs


def test_there_are_enough_of_them_under_names_of_their_own() -> None:
    found = bugs()
    assert len({bug.name for bug in found}) == len(found) >= 30


@pytest.mark.parametrize("bug", bugs(), ids=lambda bug: bug.name)
def test_it_still_applies_and_leaves_valid_code(bug: Bug) -> None:
    source = (ROOT / bug.file).read_text()
    assert source.count(bug.old) == 1
    assert bug.new != bug.old
    ast.parse(source.replace(bug.old, bug.new))
