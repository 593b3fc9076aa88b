"""The tree of errors and its one table."""

import re

from umusic.errors import UmusicError
from umusic.web.errors import STATUSES, problem_types, status_of


def all_kinds(kind: type[UmusicError] = UmusicError) -> list[type[UmusicError]]:
    return [kind, *(found for child in kind.__subclasses__() for found in all_kinds(child))]


def test_every_kind_has_a_status_of_its_own_branch() -> None:
    for kind in all_kinds():
        assert (status_of(kind) == 500) == (kind is UmusicError), kind
    assert set(STATUSES) <= set(all_kinds())


def test_every_kind_says_a_sentence_and_has_a_code_of_its_own() -> None:
    for kind in all_kinds():
        assert kind.__dict__["__doc__"], kind
        assert "code" in kind.__dict__, kind
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", kind.code)
        assert "\n" not in kind.sentence()
    assert len(problem_types()) == len(all_kinds())
