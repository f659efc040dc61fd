from __future__ import annotations

from random import Random

import pytest

from belle.curation.kinds import KINDS, Candidate, Settings, View, find_kind, open_kind
from belle.errors import BelleError
from belle.inference.backend import Answer
from belle.records import Conversation, Document, Message

PAIR = Conversation((Message("user", "一加一？"), Message("assistant", "1+1=2，所以是二。")), id="a", category="math")
BROKEN = ["", "抱歉，我不能。", "```", "{", "### 1\n指令：", "用户：", "A. x", "\ud83d", "<think>", "答案：" * 50]


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_holds_no_state(name: str) -> None:
    data = [Document("长城很长。")] if name == "from_document" else [PAIR]
    one, other = (open_kind(name, [PAIR], data, Settings()) for _ in range(2))
    view = lambda: View(Random(3), [PAIR], [PAIR], 1)  # noqa: E731
    other.compose(0, view())
    request = one.compose(0, view())
    assert request is not None
    assert request == other.compose(0, view())
    assert request.id == f"{name}-000000"
    if one.total is not None:
        assert one.compose(one.total, view()) is None


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("text", BROKEN)
def test_no_answer_breaks_a_kind(name: str, text: str) -> None:
    """Whatever comes, something is said of it: a record, or a reason."""
    data = [Document("长城很长。")] if name == "from_document" else [PAIR]
    made = open_kind(name, [PAIR], data, Settings())
    for finish in ("stop", "length"):
        found = made.read(0, Answer(text, finish, 1, 1))  # type: ignore[arg-type]
        assert found
        assert all(one.new if isinstance(one, Candidate) else one.reason for one in found)


def test_an_unknown_kind() -> None:
    with pytest.raises(BelleError, match=r"unknown kind 'maths'. Did you mean 'math'\?"):
        find_kind("maths")
    with pytest.raises(BelleError, match="cannot be imported"):
        find_kind("belle.curation:Nothing")


def test_a_kind_of_ones_own() -> None:
    assert find_kind("belle.curation.generate_math:MathProblems").category == "math"
