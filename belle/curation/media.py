"""The filter `media`: requests that need eyes, ears, a browser or a file, and answers that pretend to have used them.

Words such as picture or file are innocent by themselves ('把文件放进抽屉'). What counts is a request to look at, open or make
one, and an answer that embeds or promises one.
"""

from __future__ import annotations

import re

from belle.curation.items import Drop
from belle.curation.language import plain_chinese
from belle.curation.rounds import rounds
from belle.curation.texts import Curated

_PICTURE_ZH = (
    "图片|图像|照片|相片|截图|配图|插图|插画|漫画|海报|logo|表情包|壁纸|头像|流程图|思维导图|示意图|折线图|柱状图|饼图|地图"
    "|效果图|画像|油画|水彩画|水墨画|素描|图"
)
_FILM_ZH = "视频|短视频|动画|影片|录像|gif|动图"
_SOUND_ZH = "音频|录音|语音|歌曲|音乐|mp3|旋律|曲子"
_FILE_ZH = "文件|附件|pdf|excel|ppt|word文档|文档|表格|压缩包|幻灯片|csv"
_LINK_ZH = "链接|网址|网页|网站|页面|url"
_ANY_ZH = f"{_PICTURE_ZH}|{_FILM_ZH}|{_SOUND_ZH}|{_FILE_ZH}|{_LINK_ZH}"
_IN_URL = r"[!#-&(*-;=?-~]"
_URL = rf"(?:https?://|www\.){_IN_URL}{{1,400}}(?!{_IN_URL})"
"""To its very end: an address of which any beginning would do makes the search quadratic."""

_QUESTION = re.compile(
    "|".join(
        (
            rf"(?:下图|上图|如图|附图|看图|读图|图中|图里|图上|(?:这|那|该|此|下面|以下|上面|附上|给出的|提供的|所给"
            rf"|刚拍)的?(?:这)?[一几两]?[张幅段个份条首副]?(?:的)?(?:{_ANY_ZH}"
            rf"|画(?!面)))"
            r"(?!的?(?:制作|原理|格式|大小|尺寸|意思|含义|区别|用途))",
            rf"(?:我|已经?|刚刚?)(?:给你|向你|已经?|刚刚?)*(?:上传|发送?|附上|拍|录|分享)了?[^，。！？\n]{{0,8}}(?:{_ANY_ZH})",
            rf"(?:打开|访问|点击|浏览|进入|登录|查看|阅读|总结|概括|翻译|看看|看一下|根据|分析|下载)[^，。！？\n]{{0,12}}{_URL}",
            rf"{_URL}[^。！？\n]{{0,12}}(?:总结|概括|讲了什么|说了什么|写了什么|内容|翻译|打开|看看)",
            rf"附件(?:里|中|内|是|的)|(?:把|将|见|看|打开|查看)附件|(?:播放|收听|听听?|听一下|观看|看完|看看|识别|转写|查看"
            rf"|观察|打开|点击|描述|分析)(?:一下)?(?:下面|以下|这|该|上面|给定"
            rf"|所给|上传)[^，。！？\n]{{0,4}}(?:{_ANY_ZH})",
            r"(?:帮我|请|给我|为我|替我|能不能|可以|能|你)?(?:帮我|给我|为我|替我)*(?:生成|绘制|画出?|制作|做|设计|创建|拍摄?"
            r"|录制|剪辑|合成|渲染|发送?|发给我)(?:并?(?:发|展示"
            r"|显示))?(?:给我)?(?:一?[张幅段个份首副条]|几张|[\d两三十]+[张幅段个份])(?:[^，。！？：:\n]{0,14}?的?)?"
            rf"(?:{_PICTURE_ZH}|{_FILM_ZH}|音频|录音|语音|画)(?!的?(?:方案|计划|脚本|文案|步骤|流程|描述|提示词|故事|代码|网站"
            rf"|标题|简介|大纲|策略|函数|程序|教程|建议|剧本|创意"
            rf"|构思|主题|公司|素材|旁白|说明))",
            r"(?:播放|放|唱)(?:一?[首段个]|给我听)[^，。！？\n]{0,10}(?:歌|曲|音乐|录音|音频)|唱(?:一?首|给我听|一段)"
            r"|(?:播放|放|来)一?[首段][^，。！？\n]{0,12}给[我俺]们?听|给我(?:放|播放|唱)",
            r"(?:给我|发我|发给我|提供)[^，。！？\n]{0,10}(?:下载链接|下载地址|网盘|音频|视频文件|的图片|的照片|图片链接"
            r"|照片链接|视频链接)",
            r"用?ai(?:做|生成|画|绘制|制作)(?:一?[个张段幅])",
            r"\b(?:this|that|these|those|the (?:attached|uploaded|following|above|below|enclosed|given"
            r"|linked))\s+(?:\w+\s+){0,2}?(?:pictures?|images?|photos?|photographs?|videos?|clips?|audio|recordings?|songs?"
            r"|screenshots?|"
            r"diagrams?|charts?|graphs?|maps?|paintings?|drawings?|files?|pdfs?|spreadsheets?|links?|urls?|web ?pages?"
            r"|websites?|attachments?|podcasts?|slides?|gifs?|x-rays?|logos?)\b(?!\s+(?:format|extension|type|size|name))",
            r"\b(?:i(?:'ve| have)?(?: just)?|i'm)\s+(?:uploaded|attached|attaching|sharing|recorded|took|sent|sending"
            r"|linked)\b[^.!?\n]{0,40}\b(?:pictures?|images?|photos?|videos?|audio|recordings?|screenshots?|files?|pdfs?|"
            r"spreadsheets?|documents?|resume|cv|slides?|charts?|diagrams?|as a pdf)\b",
            r"\b(?:picture|image|photo|chart|graph|diagram|audio|video|screenshot|map|file|figure)s?\s+(?:below|above|attached"
            r"|i (?:sent|uploaded|attached|took))\b|\b(?:in|from) the (?:picture|image|photo|photograph|video|audio|recording"
            r"|screenshot|chart|diagram|graph)\b",
            rf"\b(?:visit|open|click|browse|go to|read|summari[sz]e|look at|watch|listen to|check|translate|download|see|access"
            rf"|review|analy[sz]e)\b[^.!?\n]{{0,40}}?{_URL}",
            r"\b(?:generate|draw|create|make|paint|sketch|render|design|produce|show|send|record|film|shoot|edit)\b(?:\s+(?:me"
            r"|us))?\s+(?:an?|the|some|two|three|\d+)\s+(?:\w+[\s-]){0,3}?(?:images?|pictures?|photos?|photographs?|videos?"
            r"|drawings?|illustrations?|"
            r"paintings?|sketch|audio|gifs?|animations?|logos?|posters?|wallpapers?|mp3|song recording|clips?"
            r"|portrait)\b(?!\s+(?:description|prompt|tag|caption|script|title|gallery|file|function|class|idea|ideas|using css"
            r"|in css|in html|in svg|on a web|in python|carousel|element|plan|lesson|of success))",
            r"\bhere(?:'s| is| are)\s+(?:an?|my|the|some)\s+(?:\w+\s+){0,2}?(?:clip|video|photo|photograph|picture|image"
            r"|recording|screenshot|audio|scan|link|file)s?\b",
            r"\bsend me (?:the|an?|your)\s+(?:\w+\s+){0,2}?(?:mp3|video|photo|picture|image|recording|file|pdf|link)\b"
            r"|\b(?:play|sing)\s+(?:me|us)\b|\brecord yourself\b",
        )
    ),
    re.IGNORECASE,
)  # fmt: skip
_WITH_SIGNS = re.compile(
    r"字符画|用字符|ascii|svg|latex|tikz|mermaid|html|css|canvas|python|matplotlib|代码|程序|函数|脚本|turtle|假设|如果|比如"
    r"|假如|suppose|imagine"
    r"|\bif\b|正则|regex|怎样|怎么|如何|\bhow (?:do|can|to|should)\b", re.IGNORECASE)  # fmt: skip
_ANSWER = re.compile(
    "|".join(
        (
            r"!\[[^\]\n]{0,80}\]\(\s*https?://(?!example\.|www\.example\.)[^)\s]+\)",
            r"[\[（(【]\s*(?:图片|图像|照片|视频|音频|插图|链接|(?<=\[)(?:image|picture|photo|video|audio"
            r"|link))(?:\s*[\d:：][^\]）)】\n]{0,30})?\s*[\]）)】]",
            r"正在(?:为您|为你|给您|给你)?播放",
            r"扫(?:描|码)?[^，。！？\n]{0,8}(?:二维码|小程序码)|\bscan (?:the|this) (?:qr )?code\b",
            r"(?:点击|打开|访问)(?:下方|下面|以下|这里|此处|上面|这个|此)的?(?:链接|网址|按钮|附件)?[^，。！？\n]{0,6}(?:下载"
            r"|查看|观看|收听|获取)|(?:见|如)下图|(?:下图|上图)(?:所示"
            r"|是|展示)",
            r"(?:图片|图像|视频|音频|海报|录音)(?:已经?)?(?:生成|制作|发送|附上|上传)(?:完毕|完成|好了?|给您|如下"
            r"|在下)?(?:[，。！,]|$)|这是(?:您|你)(?:要|需要)的(?:图片|照片|视频"
            r"|音频|文件|链接)",
            r"\b(?:click|follow|use|open|see)\s+(?:on\s+)?the\s+(?:link|attachment|image|file)s?\s+(?:below|above|here"
            r"|attached)\b|\b(?:click|clicking|tap) (?:here|the link|on the link|below)\b|\bi(?:'ve| have) (?:attached|uploaded"
            r"|recorded|drawn|generated)\b[^.\n]{0,30}\b(?:image|picture|photo|file|pdf|audio|mp3|video|it)\b",
            r"\b(?:is|are) attached (?:to this|below|here)\b|\bhere (?:is|are|'s) (?:your|the) (?:image|picture|photo|drawing"
            r"|video|audio|recording|illustration)\b|\bas (?:shown|seen) in the (?:image|picture|photo|diagram|figure"
            r"|chart) (?:below|above)\b",
        )
    ),
    re.IGNORECASE,
)  # fmt: skip
_TABLE = re.compile(r"表格?|csv|excel|spreadsheet|文件", re.IGNORECASE)
_BACK = re.compile(r"(?:this|that|the|these|those)\s+(?:\w+\s+){0,2}?(\w+?)s?$", re.IGNORECASE)
_COLON = re.compile("[：:](?!//)")
_FOLLOWING = re.compile(r"the (?:following|given|above|below)|以下|下面|给出", re.IGNORECASE)
# A letter or an advertisement may promise its readers a link or a file.
_WRITES_TO_OTHERS = re.compile(
    r"邮件|写一?封|广告|通知|推送|公告|文案|脚本|\b(?:e-?mail|letter|newsletter|advert\w*|ad|announcement|landing page|blog"
    r"|tweet|post|caption"
    r"|invitation)\b",
    re.IGNORECASE,
)
_ADDRESS = re.compile(_URL)
_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]+`", re.DOTALL)
_QUOTED = re.compile(r"“[^“”\n]*”|「[^「」\n]*」|\"[^\"\n]*\"|《[^《》\n]*》|(?<!\w)'[^'\n]{2,200}'(?!\w)|‘[^‘’\n]{2,200}’")


def media(record: Curated) -> Drop | None:
    """Removes requests to see, hear, open or make pictures, sounds, files or links, and answers that embed or promise them."""
    for each in rounds(record):
        question = _QUOTED.sub("“”", plain_chinese(each.question))
        found = _QUESTION.search(question)
        colon = _COLON.search(question)
        if found and colon and found.start() > colon.start() >= 4:
            found = None  # it stands in the text to work on
        if found and _FOLLOWING.match(found.group()) and "\n" in question and not _ADDRESS.search(question):
            found = None  # what follows is told in words
        if found and (_table_there(question, found) or _spoken_of(question, found)):
            found = None
        if found and not _WITH_SIGNS.search(_ADDRESS.sub("", question)):
            return Drop("asks for media", found.group().strip()[:60])
        if (
            each.answer
            and not _WRITES_TO_OTHERS.search(question)
            and (found := _ANSWER.search(_CODE.sub(" ", plain_chinese(each.answer))))
        ):
            return Drop("answers with media", found.group().strip()[:60])
    return None


def _table_there(question: str, found: re.Match[str]) -> bool:
    """Whether 'this table' stands in the question: three lines or more with as many commas, bars or tabs each."""
    if not _TABLE.search(found.group()):
        return False
    lines = [line for line in question.split("\n") if line.strip()]
    for sign in (",", "，", "|", "\t"):
        counts = [line.count(sign) for line in lines if line.count(sign) >= 1]
        if len(counts) >= 3 or (len(counts) == 2 and counts[0] == counts[1] >= 2):
            return True
    return False


def _spoken_of(question: str, found: re.Match[str]) -> bool:
    """Whether 'that URL' is one that the clause before spoke of: Input a URL and output the domain of that URL."""
    if thing := re.fullmatch("(?:这|那|该)[一几两]?[张幅段个份条首副]?(.+)", found.group()):
        return thing.group(1) in question[: found.start()]
    back = _BACK.match(found.group())
    return bool(back and re.search(rf"\ban? (?:\w+ ){{0,2}}?{back.group(1)}s?\b", question[: found.start()], re.IGNORECASE))
