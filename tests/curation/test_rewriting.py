from __future__ import annotations

import pytest
from filter_records import talk, texts
from hypothesis import given
from hypothesis import strategies as st

from belle.curation.items import Drop
from belle.curation.rewriting import plain_instruction, rewritten
from belle.records import Document


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("GPT模型应该写一首诗", "写一首诗"),
        ("请GPT模型", None),
        ("请GPT模型。", None),
        ("请GPT模型\n输入：甲", None),
        ("请GPT模型写", None),
        ("让ChatGPT写一首诗。", "写一首诗。"),
        ("我想让GPT-4模型能够写一首诗", "写一首诗"),
        ("请ＧＰＴ模型写一首诗", "写一首诗"),
        ("请设计一个任务，要求GPT模型能够写诗", "请设计一个任务，要求写诗"),
        ("使用GPT-3模型来翻译下面的句子：你好", "翻译下面的句子：你好"),
        ("请GPT-4回答：光速是多少？", "回答：光速是多少？"),
        ("GPT，请帮我写诗", "帮我写诗"),
        ("能否让GPT写一首诗？", "能否写一首诗？"),
        ("希望GPT模型能写一首诗，请GPT模型押韵", "写一首诗，押韵"),
        ("Have GPT write a poem", "Write a poem"),
        ("Please ask ChatGPT to summarise this.", "Summarise this."),
        ("Could you ask GPT-4 to write a poem?", "Could you write a poem?"),
        ("GPT should write a poem.", "Write a poem."),
        ("ChatGPT: write a poem", "Write a poem"),
        ("Use the GPT model to translate: Hallo", "Translate: Hallo"),
        *(
            (text, text)
            for text in (
                "GPT可以做什么？",
                "ChatGPT和搜索引擎有什么区别？",
                "使用GPT模型的好处",
                "训练GPT模型需要多少数据？",
                "GPT应该如何训练？",
                "GPT模型",
                "让GPT写诗有什么好处？",
                "How does GPT work?",
                "写一首诗",
                "",
                "What should I know about GPT-4?",
            )
        ),
    ],
)
def test_asking_gpt_becomes_a_plain_instruction(text: str, expected: str | None) -> None:
    assert rewritten(text) == expected


@given(
    st.lists(
        st.sampled_from(
            [
                "请",
                "让",
                "GPT",
                "模型",
                "应该",
                "能够",
                "写一首诗",
                "，",
                "。",
                "\n",
                "ChatGPT",
                " ",
                "Ask",
                "to",
                "write",
                "：",
                "吗？",
            ]
        ),
        max_size=9,
    )
)
def test_nothing_is_left_empty_and_twice_is_once(parts: list[str]) -> None:
    text = "".join(parts)
    result = rewritten(text)
    if result is None:
        assert "GPT" in text
    else:
        assert result.strip() or not text.strip()
        assert rewritten(result) in (result, None)


def test_a_record_is_rewritten_in_the_turns_of_the_user_alone() -> None:
    record = talk("GPT模型应该写一首诗", "让GPT写一首诗。")
    assert texts(plain_instruction(record)) == ["写一首诗", "让GPT写一首诗。"]
    plain = talk("写一首诗", "好。")
    assert plain_instruction(plain) is plain
    document = Document("请GPT模型")
    assert plain_instruction(document) is document


def test_a_record_without_an_instruction_goes() -> None:
    found = plain_instruction(talk("请GPT模型", "好。"))
    assert isinstance(found, Drop)
    assert (found.reason, found.detail) == ("only the model's name", "请GPT模型")
