from __future__ import annotations

import pytest
from filter_records import reason, talk

from belle.curation.media import media
from belle.records import Document

ASKS, ANSWERS = "asks for media", "answers with media"


@pytest.mark.parametrize(
    ("question", "answer", "expected"),
    [
        ("请看图回答：图里有几只鸟？", "三只。", ASKS),
        ("請看圖說故事。", "從前有一隻小狗。", ASKS),
        ("打开这个链接并总结：https://news.sample.cn/a.html", "好的。", ASKS),
        ("我上传了一份Excel表格，请统计人数。", "12人。", ASKS),
        ("生成一张猫的图片。", "好的。", ASKS),
        ("用AI做一个十秒的短视频。", "好的。", ASKS),
        ("What is the man in this picture holding?", "An umbrella.", ASKS),
        ("Generate an image of a dragon.", "Done.", ASKS),
        ("Summarise https://www.sample.net/post/231", "Done.", ASKS),
        ("什么是莫比乌斯环？", "见下：![环](https://img.sample.cn/m.png)", ANSWERS),
        ("有没有奥数资料？", "请点击下方链接下载。", ANSWERS),
        ("Do you have a checklist?", "Download it by clicking the link below.", ANSWERS),
        ("小明应该怎么收拾桌子？", "把文件放进抽屉，把照片挂在墙上。", None),
        ("写一首关于旧照片的诗。", "一张泛黄的照片。", None),
        ("HTTP和HTTPS有什么区别？", "地址以 https:// 开头。", None),
        ("用字符画一棵树。", "*", None),
        ("怎样画一个苹果的素描？", "先定外形。", None),
        ("把句子改为被动：艺术家创作了这幅画。", "这幅画被创作了。", None),
        ("How do I open a file in Python?", "Use open().", None),
        ("Write an HTML tag that shows logo.png.", '`<img src="logo.png">`', None),
        ('What does "get the picture" mean?', "To understand.", None),
        ("Write the body of an e-mail that invites to a webinar.", "To register, click on the link below.", None),
        ("Classify the following song.\nLose You to Love Me, by Selena Gomez", "Pop.", None),
    ],
)
def test_a_record_needs_eyes_ears_or_a_browser(question: str, answer: str, expected: str | None) -> None:
    assert reason(media(talk(question, answer))) == expected


def test_a_document_is_text() -> None:
    assert media(Document("请看图回答")) is None
