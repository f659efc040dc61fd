from __future__ import annotations

from belle.curation.quotas import Quotas


def fill(quotas: Quotas, rows: list[tuple[str, str]]) -> list[str]:
    """What each row was refused for; "" where it was let in."""
    reasons = []
    for category, text in rows:
        drop = quotas.refuse(category, text)
        reasons.append(drop.reason if drop else "")
        if drop is None:
            quotas.add(category, text)
    return reasons


def test_a_class_takes_its_share() -> None:
    quotas = Quotas(20, 0.1, {"math": 0.15}, None)
    assert fill(quotas, [("generation", "a")] * 3) == ["", "", "class is full"]
    assert fill(quotas, [("math", "a")] * 4) == ["", "", "", "class is full"]
    assert quotas.full == {"generation", "math"}
    assert quotas.room == 12 * 2 + 3


def test_poems_do_not_drown_the_rest() -> None:
    quotas = Quotas(100, None, {}, 0.03)
    poems = [("generation", f"写一首关于{what}的诗") for what in "春夏秋冬山河湖海"]
    others = [("generation", "写一封邮件"), ("generation", "写一篇报告"), ("translation", "把句子翻译成英文")]
    assert fill(quotas, poems) == [""] * 3 + ["task is full"] * 5
    assert fill(quotas, others) == [""] * 3
    assert fill(quotas, [("generation", f"Write a poem about {what}.") for what in ("rain", "snow", "fog", "ice")]).count("") == 3


def test_a_share_is_rounded_up_and_two_are_always_let_in() -> None:
    assert Quotas(7, 0.1, {}, None).limits["math"] == 1
    assert Quotas(10, 0.3, {}, None).limits["math"] == 3
    assert Quotas(10, 0.3, {}, 0.01).task_limit == 2


def test_no_limits() -> None:
    quotas = Quotas(3, None, {}, None)
    assert fill(quotas, [("math", "写诗")] * 9) == [""] * 9
    assert (quotas.full, quotas.room) == (frozenset(), None)


def test_a_class_that_is_none_of_ours_has_no_limit() -> None:
    assert fill(Quotas(3, 0.1, {}, None), [("poetry", "x")] * 5) == [""] * 5
