"""The filter `missing_input`: questions about a text, a table or code that nobody gave ('总结以下文章' and no article)."""

from __future__ import annotations

import re

from belle.curation.items import Drop
from belle.curation.language import plain_chinese
from belle.curation.rounds import Round, rounds
from belle.curation.texts import Curated

_THINGS_ZH = (
    "文章|段落|文本|文字|句子|语句|代码|程序|函数|数据|表格|列表|清单|评论|评价|新闻|报道|诗歌?|古诗|对话|单词|词语|词汇|词组"
    "|数字|数列|数组|题目|问题|选项|内容|材料|资料|病句|"
    "邮件|信件|信|信息|故事|歌词|短文|文段|文献|论文|摘要|简历|公式|方程|方程式|图表|名单|语料|文档|合同|通知|作文|稿子|报告"
    "|记录|片段|小说|日记|句|段|词|段话|句话|话(?![题语剧费筒])|等式|不等式|"
    "字符串|姓名|名字|成语|标题|台词|算式|表达式|陈述|描述|例子|案例|产品|商品|食材|空格|空白|译文|原文|演讲稿?|语录|聊天记录"
    "|订单|成绩|账单|日程|广告|文案|地址|推文|帖子|留言|反馈|样本|JSON|XML|HTML"
    "|SQL|CSV"
)
_THE_ZH = r"以下|下面|下列|下述|如下|上面|上述|以上|所给|给定|给出的|所提供|提供的|这[一两三几]?|此|所示|括号内|附上|前面|后面"
_UNIT_ZH = "篇|段|句|个|首|则|条|组|些|份|封|行|张|对|道|列|种|项|批|本|部"
_REFERENCE_ZH = re.compile(
    rf"(?:{_THE_ZH})的?(?:这)?(?:[一两二三四五六七八九十几\d]+)?\s*(?:{_UNIT_ZH})?\s*(?:的)?[^，。！？：:；\n]{{0,8}}?(?:{_THINGS_ZH})"
    rf"|(?<![应就不本])该(?:{_UNIT_ZH})?(?:[产商]品|用户|客户|电影)?(?:{_THINGS_ZH})|[上下]文"
    r"|(?<!以)[下上]表(?![示达面现态演明情决])|(?:根据|按照|从|依据)表[中里]"
    r"|(?:下列|以下|下面|上述)\s*(?:哪|选项|各|四|三|五|两)|(?:阅读|根据)(?:以下|下面|上面|上述|所给|给定|这)"
    r"|第[一二三四五六七八九十\d]+[题段](?:的|中|里)|(?:两|这)[篇段首](?:文章|诗"
    r"|文字|话|短文)"
)
# Things that are asked for, not given: the answer is to have them.
_ASKED_FOR = re.compile(
    rf"(?:{_THE_ZH})的?(?:[^，。！？：:；\n]{{0,6}})?(?:格式|要求|步骤|方面|结构|顺序|方式|角度|条件|主题|关键词|标准|规则|城市"
    rf"|国家|原因|功能|方法|月份|问题之一|几点|类型|要点|模板|形式"
    rf"|场景|情境|情况|年龄|人群)"
    r"|十?[\d一二三四五六七八九十百千万]+\S{0,2}以[上下]|以[上下](?:的孩子|儿童|人群|学历)"
)
_THINGS_EN = (
    r"texts?|articles?|passages?|paragraphs?|sentences?|code|snippets?|programs?|functions?|data|datasets?|tables?|lists?|review"
    r"|comments?|news|story|stories|poems?|dialogues?|conversations?|words?|numbers?|"
    r"questions?|options?|content|material|e-?mail|letter|message|information|lyrics|document|essay|report|resume|equations?"
    r"|expressions?|statements?|headlines?|quote|tweet|post|speech|"
    r"excerpts?|items?|names?|choices|blanks?|draft|transcript|recipe|script|query|string|phrase|summary|abstract|contract|menu"
    r"|schedule|log|figures|scores|results|reviews|definitions?|examples?|problem"
)
_REFERENCE_EN = re.compile(
    rf"\b(?:the\s+)?(?:following|below|above|given|provided|attached)\s+(?:\w+\s+){{0,2}}?(?:{_THINGS_EN})\b|\b(?:the|this"
    rf"|these|those|my)\s+(?:\w+\s+){{0,2}}?(?:{_THINGS_EN})\s+(?:below|above|provided|given|here|attached|that follows?"
    rf"|i (?:gave|sent|wrote))\b"
    rf"|\b(?:this|these)\s+(?:\w+\s+){{0,2}}?(?:{_THINGS_EN})\b|\bwhich of the following\b|\bthe (?:two|three"
    rf"|four) (?:\w+\s+){{0,1}}?(?:{_THINGS_EN})\b"
    rf"|\b(?:summari[sz]e|translate|classify|proofread|paraphrase|rewrite|shorten|correct|edit)\s+(?:the|this|that"
    rf"|my)\s+(?:\w+\s+){{0,1}}?(?:{_THINGS_EN})\b(?!\s+(?:of|by|about|from|in|for|to)\b)",
    re.IGNORECASE,
)
_PLACEHOLDER = re.compile(
    r"[\[【<（(《{]\s*(?:在?此处?|请|这里|插入|粘贴|输入|填写|某|文章内容|文本|原文|此处)[^\]】>）)》}\n]{0,30}[\]】>）)》}]"
    r"|\bX{3,}\b|[\[<]\s*(?:insert|paste"
    r"|enter|add|put)\b[^\]>\n]{0,40}[\]>]|[\[<]\s*(?:your |the )?(?:text|article|input|sentence|passage|paragraph"
    r"|code)(?: here)?\s*[\]>]",
    re.IGNORECASE,
)
_LABEL = re.compile(r"^[^\S\n]*[\w\u4e00-\u9fff（）() ]{1,20}[:：]\s*$", re.MULTILINE)
_QUOTED = re.compile(
    r"“[^“”]+”|\"[^\"]+\"|「[^「」]{2,}」|‘[^‘’]{2,}’|『[^『』]{2,}』|(?<!\w)'[^'\n]{2,}'(?!\w)|《[^《》]{1,40}》|`[^`]+`|```",
    re.DOTALL,
)
_ASKS_BACK = re.compile(
    r"(?:请|麻烦)(?:您|你)?(?:先)?(?:提供|给出|发送|发来|告诉我|粘贴|输入|附上)|没有(?:提供|给出|看到|附上)|未(?:提供|给出|附)"
    r"|没有(?:文章|文本|内容|附件)|(?:please|could you"
    r"|can you) (?:provide|share|paste|give|send)|(?:no|not|didn't|haven't|did not) (?:\w+ )?(?:provided?|given|attached"
    r"|included)",
    re.IGNORECASE,
)
_NO_INPUT = re.compile(
    r"<\s*(?:无输入|空|no\s*[-_]?\s*input|none|empty)\s*>|^[^\S\n]*(?:(?:输入|input)\s*[:：]\s*)?(?:无|无输入|none|n/a"
    r"|no input)[。.]?\s*$",
    re.IGNORECASE | re.MULTILINE,
)
_AHEAD = re.compile(r"以下|下面|下列|下述|下文|如下|following|below", re.IGNORECASE)
# Pictures and the like are the business of `media`.
_MEDIA = re.compile(
    r"图(?![书谋])|照片|视频|音频|录音|链接|网[页站址]|附件|文件|截屏|\b(?:picture|image|photo|video|audio|recording|clip|link"
    r"|url|website|attachment"
    r"|file|pdf|chart|graph|diagram|screenshot|song)s?\b",
    re.IGNORECASE,
)
# Who writes a function for 'given numbers' is not given any.
_ASKS_FOR_A_TOOL = re.compile(
    r"(?:写|创建|设计|实现|开发|构建|建立|定义)[^。！？：:\n]{0,30}(?:给定|给出的)[^。！？：:\n]{0,20}|(?:给定"
    r"|给出的)[^。！？：:\n]{0,12}(?:的|,|，)?(?:函数|程序|算法|脚本"
    r"|系统|代码)"
    r"|\b(?:write|create|design|implement|develop|build|define)\b[^.!?:\n]{0,60}\b(?:function|program|script|algorithm|method"
    r"|query|class|formula|app|system|code)\b[^.!?:\n]{0,60}\b(?:given|provided)\b",
    re.IGNORECASE,
)
# Who is given 'an array of 10 elements' is told of a task in general; 'the function' may be one that the clause before names.
_SUPPOSED = re.compile(r"给定一?个[^，。！？：:\n]{1,16}的(?:数组|列表|字符串|整数|数字|链表|矩阵|集合|序列|二叉树)[，,]")
_BACK = re.compile(r"(?<=[，,])[^，。！？；\n]{0,8}\Z")
_BEHIND = re.compile("上文|上面|以上|上述|above", re.IGNORECASE)
_OPTION = re.compile(r"(?<![A-Za-z])[A-Da-d①-④][.．、:：)）]")
_LITTLE = 25
"""Words behind the colon of 'from the text above: why did he leave?' that are a text, not the question."""
_SENTENCES = re.compile(r"[。！？!?\n]|\.(?=\s|$)")
_ACTS = re.compile(
    r"解释|翻译|说明|[用写读查把将对给请找改为以从在按看据就让]|理解|分析|判断|总结|概括|描述|评价|造句|朗读|纠正|续|扩|缩|背诵|仿照|指出|回答|阅读"
    r"|归类|分类|批评|提取|识别|确定|检查|编辑|润色|简化|重[写述]|告诉|建议|采用|生成|列|计算|比较|完成|补全|填|选|排|数"
    r"|[a-z]",
    re.IGNORECASE,
)
"""What is done to a thing: 'translate this word' holds such a word, 'butterfly, this word' does not."""
_ORDERS = re.compile(
    r"\s*(?:请|要求|并|注意|不要|字数|你|您|答案|回答|输出|用|以|please|make sure|do not|don't|use|keep|answer|write|give)",
    re.IGNORECASE,
)
_MUCH = 60
"""Characters or words beside a placeholder that are an input with a name left out, not an input left out."""
_CONTENT = re.compile(r"[\u3400-\u9fff]|[A-Za-z]{2,}|\d+")


def missing_input(record: Curated) -> Drop | None:
    """Removes questions that refer to a text, data or code which stands neither in them nor earlier in the conversation."""
    for each in rounds(record):
        if drop := _missing(each):
            return drop
    return None


def _missing(each: Round) -> Drop | None:
    question = each.question
    if not question.isascii():
        question = plain_chinese(question)
    question = _NO_INPUT.sub("", question)
    if (found := _PLACEHOLDER.search(question)) and _weight(_PLACEHOLDER.sub("", question)) < _MUCH:
        return Drop("a placeholder for the input", found.group()[:40])
    question = question.replace("\\n", "\n")  # a line break that was escaped twice
    found = _REFERENCE_ZH.search(question) or _REFERENCE_EN.search(question)
    if not found or _ASKED_FOR.search(question[max(0, found.start() - 6) : found.end() + 8]):
        return None
    if _ASKS_FOR_A_TOOL.search(question) or _thing_before(question, found) or _SUPPOSED.match(question, found.start()):
        return None
    if _MEDIA.search(question[found.start() : found.end() + 8]):
        return None
    # What lies ahead cannot have been said before, unless it was sent on its own.
    before = 40 if _AHEAD.search(found.group()) else 12
    if _given(question, found) or (_weight(each.earlier) >= before and not found.group().startswith("第")):
        return None
    return Drop("refers to what is not there", found.group()[:40])


def _thing_before(question: str, found: re.Match[str]) -> bool:
    """Whether the thing was spoken of before: 写一个故事，再给这个故事起个名字."""
    before = question[: found.start()]
    thing = re.sub(r"^.*?(?:篇|段|句|个|首|则|条|组|些|份|封|的|this|these|those|the)\s*", "", found.group(), flags=re.IGNORECASE)
    if thing.startswith("该"):
        thing = thing[1:]
        if _BACK.search(before) and _weight(before) >= 6:
            return True
    if (len(thing) >= 2 and thing.casefold() in before.casefold()) or ("数" in thing and re.search(r"\d", before)):
        return True
    if re.match("(?:阅读|根据)?[这该此]|th[ie]s", found.group(), re.IGNORECASE):
        sentence = _SENTENCES.split(before)[-1]
        if (len(sentence) < len(before) and _weight(before) >= 6) or (sentence.strip() and not _ACTS.search(sentence)):
            return True
    # 'a, b and c: how are these three words read': what is counted was named before.
    return bool(re.match(r"这[一两三四五六七八九几\d]|these", found.group(), re.IGNORECASE) and _weight(before) >= 2)


def _given(question: str, found: re.Match[str]) -> bool:
    """Whether the question holds something beside the sentence that refers to it."""
    if _QUOTED.search(question):
        return True
    bare = _LABEL.sub("", question)
    # After a colon, or on lines of its own: the thing itself, however short.
    begin = found.start()
    colon = re.compile("[：:]").search(question, found.end())
    if _BEHIND.search(found.group()):
        colon = colon if colon and _weight(question[colon.end() :]) >= _LITTLE else None
    if len(_OPTION.findall(question)) >= 2:
        return True
    if colon and _weight(question[colon.end() :]) >= 1 and _weight(_LABEL.sub("", question[colon.end() :])) >= 1:
        return True
    lines = [line for line in bare.split("\n") if _weight(line)]
    if len(lines) >= 2:
        return True
    if re.match(r"[^。！？!?\n]*?(?:=|\d\D{1,3}\d)", question[found.end() :]):
        return True  # an equation, or numbers, right behind
    behind = _SENTENCES.split(question[found.end() :])[1:]
    if _AHEAD.search(found.group()) and any(_weight(part) >= 3 and not _ORDERS.match(part) for part in behind):
        return True
    sentences = [part for part in re.split(r"[。！？!?]|\.(?=\s|$)", bare) if _weight(part)]
    others = [part for part in sentences if found.group() not in part]
    return _weight("".join(others)) >= 12 or bool(begin and _weight(question[:begin]) >= 25)


def _weight(text: str) -> int:
    """Han characters, words and numbers."""
    return len(_CONTENT.findall(text))
