from __future__ import annotations

import pytest
from filter_records import reason, talk

from belle.curation.wrong_language import WrongLanguage, asked_language
from belle.records import Document

ASKED, OWN = "not the language asked for", "not the language of the question"


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("请用英文回答：你好吗？", "en"),
        ("把这句英文翻译成中文。", "zh"),
        ("用法语说“我想要咖啡”。", "fr"),
        ("“谢谢”的日语怎么说？", "ja"),
        ("請翻譯成繁體中文。", "zh-hant"),
        ("请翻译成繁体中文。", "zh-hant"),
        ("2019年德国以德语为母语的人有多少？", None),
        ("Answer in English: who are you?", "en"),
        ('Translate "good" into Chinese.', "zh"),
        ("Which films are popular in French cinema?", None),
        ("介绍一下英语语法。", None),
    ],
)
def test_a_question_asks_for_a_language(question: str, expected: str | None) -> None:
    assert asked_language(question) == expected


@pytest.mark.parametrize(
    ("question", "answer", "expected"),
    [
        ("请用英文回答：你最喜欢哪个季节？", "我最喜欢春天，因为花都开了。", ASKED),
        ("用法语说“我想要一杯咖啡”。", "I would like a cup of coffee, please.", ASKED),
        ('Say "Good morning, teacher" in Japanese.', "老师，早上好。", ASKED),
        ("怎么煮米饭？", "Wash the rice twice and add water.", OWN),
        ("怎么煮米饭？", "쌀을 씻은 뒤 물에 불리고 맞춥니다.", OWN),
        ("Why do cats purr?", "Les chats ronronnent quand ils sont contents, mais aussi pour se calmer.", OWN),
        ("Anything else?", "还可以在睡前一小时放下手机。", OWN),
        ("写一个 Go 程序输出 Hello。", '```go\npackage main\nfunc main() { fmt.Println("Hello") }\n```', None),
        ("列出三位法国画家的原名。", "Claude Monet, Edgar Degas, Camille Pissarro", None),
        ("請介紹臺北的天氣。", "臺北屬於副熱帶季風氣候，夏季炎熱潮濕。", None),
        ("请介绍台北的天气。", "臺北屬於副熱帶季風氣候，夏季炎熱潮濕。", None),
        ("请用日语写一句道歉的话。", "申し訳ございません。", None),
        ("How do you write Tokyo in Japanese?", "東京 (Tōkyō)", None),
        ("How do I use 了 in Chinese?", "Place 了 after a verb, as in 我吃了 (I ate).", None),
        ("怎样把“Charles loves his bike”变成问句？", '"Does Charles love his bike?"', None),
        ("用颜文字表达开心。", "(*^▽^*) ヽ(✿ﾟ▽ﾟ)ノ", None),
        ("Sort into metals and non-metals: iron, sulfur.", "Metals: iron\nNon-metals: sulfur", None),
        ("3+4=", "7", None),
    ],
)
def test_an_answer_is_in_a_wrong_language(question: str, answer: str, expected: str | None) -> None:
    assert reason(WrongLanguage()(talk(question, answer))) == expected


def test_a_set_may_have_languages_of_its_own() -> None:
    filter = WrongLanguage(languages=("zh", "en"))
    assert reason(filter(Document("Les chats ronronnent quand ils sont contents."))) == "not a language of the set"
    assert filter(Document("臺北的天氣很好。")) is None
    assert reason(filter(talk("用日语说谢谢。", "ありがとうございます。"))) == "not a language of the set"
    assert WrongLanguage()(Document("Les chats ronronnent.")) is None
