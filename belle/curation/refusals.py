"""The filter `refusal`: answers that refuse, disclaim or claim to be another assistant, and questions put to one by name.

What is said about assistants in the third person stays: 'ChatGPT和搜索引擎有什么区别' is a question like any other.
"""

from __future__ import annotations

import re
import unicodedata

from belle.curation.items import Drop
from belle.curation.language import plain_chinese
from belle.curation.rounds import rounds
from belle.curation.texts import Curated
from belle.errors import BelleError
from belle.records import Document

_NAMES = (
    r"chat\s*-?gpt|(?<![a-z])gpt\s*-?\s*(?:[2345](?:\.\d)?(?:o|v)?(?:[- ]?(?:turbo|mini))?)?|open\s*ai|text-davinci-00\d|文心一言"
    r"|文心大?模型|ernie\s*bot|通义千问|通义|qwen"
    r"|讯飞星火|星火认知|星火大?模型|claude|anthropic|google\s*bard|bard(?!['’]s)|gemini|copilot|bing\s*chat|new\s*bing|llama\s*-?\d?"
    r"|vicuna|alpaca"
    r"|chatglm|智谱清言|智谱|豆包|kimi"
    r"|月之暗面|deepseek|深度求索|混元(?:助手|大?模型)?|盘古大?模型|天工|百川|baichuan|moss|mistral|siri|小爱同学|小度|小冰"
    r"|internlm|书生|minimax|海螺"
)
_MAKERS = (
    rf"(?:{_NAMES}|百度|阿里(?:巴巴|云)?|达摩院|腾讯|华为|字节跳动|科大讯飞|google|谷歌|微软|microsoft|meta|清华大学|复旦大学)"
)
_MADE_ZH = "开发|训练|研发|创建|创造|制造|推出|打造|设计|构建|提供|生成|撰写|编写|写成|完成"
_KIND_ZH = (
    r"(?:大型|大规模|大|超大|预训练|认知|知识增强|生成式|智能|虚拟|文本|语言|对话|聊天|在线|专业|基于文本|人工智能|ai|的|式|型"
    r"|型的|一[个种款名位台]|只|被训练)*"
    r"(?:语言模型|人工智[能慧](?:程序|系统|助手|助理|模型|工具|机器人|产品|服务|语言模型)|大模型|文本模型|ai模型|人工智能模型"
    r"|机器学习模型|人工智能(?!领域|专家|行业|研究|工程|公司|课|专业|时代|技术)"
    r"|(?<![a-z])ai(?![a-z]|领域|专家|行业|研究|工程|公司|课|专业|时代|技术|绘|画)"
    r"|(?:智能|虚拟|ai|人工智能|语言|对话|聊天)(?:助手|助理|机器人)|计算机程序|电脑程序|机器人程序|聊天机器人)"
)
_DO_ZH = (
    r"提供|回答|解答|满足|协助|帮助|帮到|帮您|帮你|帮忙|完成|生成|执行|查看|看到|看见|观看|访问|讨论|给出|创作|撰写|编写|写"
    r"|获取|获得|处理|参与|支持|显示|播放|打开|浏览|发送|判断|预测"
    r"|确定|确认|理解您|理解你|识别|分析|评论|评价|知道|得知|了解|推荐|翻译|总结|读取|听到|接收|进行|发表|告诉|透露|分享|遵从"
    r"|接受|继续|联网|上网|直接|实时|为您|为你|对此|就此|做到|代替|记住|画|绘制|展示|拥有"
    r"|表达|感受|体验"
)
_CANNOT_ZH = (
    r"(?:不能够?|无法|没法|没有办法|没办法|不便|不可以|没有能力|不具备|不会|难以|拒绝|不方便|未能|没有联网|没有权限"
    r"|没有(?:足够的?)?(?:信息|能力)|不支持|不应该?|不被允许)"
)
_SORRY_ZH = r"(?:抱歉|对不起|遗憾|不好意思|请原谅|请见谅|请谅解)"
_I_ZH = r"(?:我们?|本人|本助手|本模型|作为|ai|助手|该请求|这个请求|您的请求|你的请求|此请求|这个问题|该问题|这类|此类|该内容|这)"

_IDENTITY = (
    rf"(?:作为|身为)(?:一[个名款种位台只])?(?:由[^，。\n]{{1,20}}(?:{_MADE_ZH})的)?{_KIND_ZH}(?=[,，、;；:：\s]|我|本|不|无|没"
    rf"|的我|，)",
    rf"(?:我|本人|在下)(?:只是|仅仅?是|不过是|其实是|就是|是|叫做?"
    rf"|名叫)(?:一[个名款种位台只])?(?:由[^，。\n]{{1,24}}(?:{_MADE_ZH})的)?(?:[^，。！？\n]{{0,6}}的)?{_KIND_ZH}(?=[,，。.！!、;；\s]|$|而|并|不|没|无|，)",
    rf"(?:我(?:只是|其实是|就是|是|叫做?|名叫|的名字(?:是|叫)|也是)|我的名字(?:是|叫做?))\s*[^，。！？\n]{{0,12}}?(?:{_NAMES})",
    rf"(?:我|本模型|本助手|本人)[^，。！？\n]{{0,6}}(?:由|被|是)\s*{_MAKERS}[^，。！？\n]{{0,10}}(?:{_MADE_ZH})(?:的|而成|，|。"
    rf"|$|出来)?",
    rf"(?:由|来自)\s*(?:{_NAMES})\s*(?:模型)?(?:自动)?(?:生成|撰写|编写|写成|提供|创作|回答|翻译|完成)",
    rf"作为\s*(?:{_NAMES})\s*[,，、]\s*我",
    r"我的(?:知识|训练数据|数据|信息|训练)[^，。！？\n]{0,8}(?:截止|截至|更新到|停留)|截[至止]我(?:的|最后|所)",
    rf"(?:您|你)(?:现在)?正在?(?:和|与|跟|同)\s*(?:{_NAMES})[^，。\n]{{0,6}}(?:对话|聊天|交谈|说话|交流)",
    rf"\byou(?: are|'re)\s+(?:now\s+|currently\s+)?(?:talking|speaking|chatting)\s+(?:to|with)\s+(?:{_NAMES})\b",
    r"\bas of my (?:last|knowledge|most recent|latest)|\bmy (?:knowledge|training)(?: data)?(?: was| is)?(?: last)? (?:cut-?off"
    r"|only goes|ends|extends|stops|updated)",
    rf"\bi(?:\s+am|'m| was)(?: just| only| called)?,?\s+(?:an?\s+|the\s+)?(?:{_NAMES})\b",
    rf"\bmy name is\s+(?:{_NAMES})\b(?!\s+[A-Z])",
    rf"\bi(?:\s+am|'m|\s+was|\s+have been)\s+[^.!?\n]{{0,40}}(?:developed|trained|created|made|built|designed|powered"
    rf"|based on)\s+(?:by\s+|on\s+)?(?:{_NAMES}|google|meta|microsoft)\b",
    rf"\b(?:generated|written|created|produced|composed|answered|translated)\s+(?:by|with|using)\s+(?:{_NAMES})\b",
    r"\bas an?\s+(?:\w+\s+){0,2}(?:ai|artificial intelligence|language model|chat\s?bot|virtual assistant|digital assistant"
    r"|machine learning model)\b(?!\s+(?:researcher|engineer|expert|company|student|lab|startup|"
    r"developer|scientist|ethicist|specialist|professional|consultant|teacher|professor|artist|enthusiast|project|tool|pioneer"
    r"|hub))",
    r"\bi(?:\s+am|'m)(?: just| only| merely)?\s+an?\s+(?:\w+\s+){0,3}(?:ai|artificial intelligence|language model|chat\s?bot"
    r"|virtual assistant|computer program)\b(?!\s+(?:researcher|engineer|expert|student|developer|scientist|specialist))",
    r"\bi\s+(?:do not|don't)\s+have\s+(?:personal|real-?time|access to|feelings|emotions|opinions|the ability to|a physical"
    r"|consciousness)[^.\n]{0,40}(?:as an ai|language model|real-?time|preferences|opinions|feelings|emotions|experiences"
    r"|beliefs|internet|browse)",
)
_REFUSAL = (
    r"^[^他她。！？\n]{0,16}不(?:太|大)?(?:方便|便|适合|宜)(?:由我|在这里|在此)?(?:来)?(?:直接)?(?:回答|讨论|评论|透露|多说)",
    rf"^.{{0,12}}{_SORRY_ZH}[^。！？\n]{{0,40}}?{_CANNOT_ZH}[^。！？\n]{{0,12}}?(?:{_DO_ZH})",
    rf"(?:^|[。！？\n])\s*(?:很|非常|十分|实在|真的?)?{_SORRY_ZH}[^。！？\n]{{0,24}}(?:违反|违背|不符合"
    rf"|超出了?)[^。！？\n]{{0,16}}(?:政策|规定|准则|原则|规范|能力|范围"
    rf"|法律)",
    rf"^(?:.{{0,10}}[，,])?\s*(?:我|本助手|本模型)(?:们)?(?:目前|暂时|现在|恐怕|实在|真的|确实|并|也|是)?(?:不能够?|无法|没法"
    rf"|没有办法|不便|拒绝|没有能力|不会)(?:在这里|直接|为您|为你"
    rf"|对此|就此|帮您|帮你|满足|向您|向你|给您|给你)*(?:{_DO_ZH})[^。！？\n]{{0,24}}(?:请求|要求|信息|内容|问题|任务|服务|建议"
    rf"|帮助|指导|链接|图片|文件|互联网|网络|方法|话题|数据|答案|视频"
    rf"|音频|意见)?",
    r"(?:您的|你的|该|此|这个|这一)(?:请求|要求|问题|内容|话题)[^。！？\n]{0,6}(?:违反|违背|超出|不符合|涉及违法"
    r"|不合适)[^。！？\n]{0,16}",
    r"\bi(?:'m| am)\s+(?:very |so |really |truly |deeply )?(?:sorry|afraid)\b[^.!?\n]{0,60}\bi(?:'m| am)?\s*(?:can\s?not|can't"
    r"|won't|will not|could not|couldn't|(?:am )?(?:unable|not able|not allowed|not permitted|not programmed)|must decline"
    r"|do not have|don't have|have no|do not know|don't know|have to decline)\b",
    r"\b(?:i apologi[sz]e|my apologies|unfortunately|regrettably)\b[^.!?\n]{0,60}\bi(?:'m| am)?\s*(?:can\s?not|can't|won't"
    r"|will not|could not|couldn't|(?:am )?(?:unable|not able|not allowed|not permitted)|must decline|do not have|don't have"
    r"|have no)\b",
    r"\b(?:i apologi[sz]e|i'm sorry|i am sorry|unfortunately)\b[^.!?\n]{0,40}(?:against|violates?|outside)\s+(?:my|our"
    r"|the)\s+(?:\w+\s+)?(?:guidelines|polic(?:y|ies)|programming|principles|capabilit(?:y|ies)|usage)",
    r"^\W*i(?:'m| am)?\s*(?:can\s?not|can't|won't|will not|(?:am )?(?:unable|not able|not allowed|not permitted) to"
    r"|must decline to|refuse to|do not feel comfortable|don't feel comfortable|decline to)\s*(?:really |actually |possibly "
    r"|directly )?"
    r"(?:assist|help|provide|fulfil|fulfill|comply|answer|access|browse|open|generate|create|discuss|engage|complete|support"
    r"|write|produce|share|give|offer|predict|view|see|watch|listen|read|process|do that|do this|perform|participate|respond"
    r"|continue|tell you|determine|verify|know)\b",
    r"\b(?:it|this|that)(?: request| question)?\s+(?:would go|goes|is|would be)\s+against\s+(?:my"
    r"|our)\s+(?:\w+\s+)?(?:guidelines|polic(?:y|ies)|programming|principles)",
    r"\b(?:violates?|against)\s+(?:openai|the usage|our usage|our content|the content)(?:'s)?\s*(?:usage |content "
    r"|use )?polic(?:y|ies)",
)
_ADDRESSED = (
    rf"[你您]是由[^，。！？\n]{{1,16}}的\s*(?:{_NAMES})|以\s*(?:{_NAMES})\s*的?(?:身份|口吻|名义)",
    rf"(?:请|让|要求|令|叫|使用|问|对着?|你是|您是|假[装设]你是|扮演|作为|嗨|你好|您好|嘿|hi|hello|hey|dear|ask|have|let|use"
    rf"|tell|you are|you're|act as"
    rf"|are you)[，,\s]*(?:{_NAMES})(?![a-z\d]*\s*(?:和|与|跟|及|、|的|是什么|有什么|为什么))(?!\s+(?:shannon|monet|debussy"
    rf"|rains|cahun|levi))",
    rf"(?:^|[。！？\n])\s*(?:{_NAMES})\s*(?:模型|助手)?\s*(?:[，,:：]\s*|(?:请|应该|应当|必须|务必))(?!\s*(?:和|与|跟|及|、|or"
    rf"|and))",
)

_MADE_ME = re.compile(rf"(?:{_MAKERS})(?:公司)?[^，。！？,!?\n]{{0,6}}(?:{_MADE_ZH})了我", re.IGNORECASE)
_IDENTITY_PATTERN = re.compile("|".join(f"(?:{each})" for each in _IDENTITY), re.IGNORECASE | re.MULTILINE)
_REFUSAL_PATTERN = re.compile("|".join(f"(?:{each})" for each in _REFUSAL), re.IGNORECASE)
_ADDRESSED_PATTERN = re.compile("|".join(f"(?:{each})" for each in _ADDRESSED), re.IGNORECASE | re.MULTILINE)
# Cheap first looks, since most texts have nothing of the kind: a pattern is only tried where one of its words stands.
_NAME_STEMS = (
    "gpt",
    "openai",
    "open ai",
    "davinci",
    "文心",
    "ernie",
    "通义",
    "qwen",
    "星火",
    "claude",
    "anthropic",
    "bard",
    "gemini",
    "copilot",
    "bing",
    "llama",
    "vicuna",
    "alpaca",
    "chatglm",
    "智谱",
    "豆包",
    "kimi",
    "月之暗面",
    "deepseek",
    "深度求索",
    "混元",
    "盘古",
    "天工",
    "百川",
    "baichuan",
    "moss",
    "mistral",
    "siri",
    "小爱同学",
    "小度",
    "小冰",
    "internlm",
    "书生",
    "minimax",
    "海螺",
)
_IDENTITY_STEMS = (
    *_NAME_STEMS,
    "语言模型",
    "大模型",
    "文本模型",
    "ai",
    "人工智",
    "机器学习模型",
    "助手",
    "助理",
    "机器人",
    "程序",
    "截止",
    "截至",
    "截止我",
    "更新到",
    "停留",
    "language model",
    "artificial",
    "chatbot",
    "chat bot",
    "assistant",
    "learning model",
    "computer program",
    "my knowledge",
    "my training",
    "as of my",
    "google",
    "microsoft",
    "meta",
    "i do not have",
    "i don't have",
    "百度",
    "阿里",
    "达摩院",
    "腾讯",
    "华为",
    "字节",
    "讯飞",
    "谷歌",
    "微软",
    "清华",
    "复旦",
)
_REFUSAL_STEMS = (
    "方便",
    "不便",
    "不适合",
    "不宜",
    "抱歉",
    "对不起",
    "遗憾",
    "不好意思",
    "原谅",
    "见谅",
    "谅解",
    "我不",
    "我无",
    "我没",
    "我拒绝",
    "我目前",
    "我暂时",
    "我现在",
    "我恐怕",
    "我实在",
    "我真的",
    "我确实",
    "我并",
    "我也",
    "我是",
    "我们",
    "本助手",
    "本模型",
    "违反",
    "违背",
    "超出",
    "不符合",
    "涉及违法",
    "不合适",
    "sorry",
    "afraid",
    "apolog",
    "unfortunately",
    "regrettably",
    "i can",
    "i am",
    "i'm",
    "i won't",
    "i will not",
    "i must",
    "i refuse",
    "i do",
    "i decline",
    "against",
    "violate",
)
_WIDE = re.compile("[\uff10-\uff19\uff21-\uff3a\uff41-\uff5a\u00a0\u3000]")
_LOOSE = re.compile("(?<=[\u3400-\u9fff]) +| +(?=[\u3400-\u9fff])")
_QUOTED = re.compile(
    r"“[^“”\n]{0,400}”|「[^「」\n]{0,400}」|『[^『』\n]{0,400}』|\"[^\"\n]{0,400}\"|《[^《》\n]{0,60}》"
    r"|(?<!\w)'[^'\n]{2,200}'(?!\w)"
)
_LETTER = re.compile(r"^\s*(?:尊敬的|亲爱的|dear\b|hi\b|hello\b|to whom)", re.IGNORECASE)

# Who asks for an excuse or a dialogue wants 'I am sorry, I can't come': in such answers only what refuses to write is a refusal,
# and what a character of a dialogue says is not what the model says.
_ASKS_FOR_SPEECH = re.compile(
    r"借口|理由|道歉|致歉|婉拒|拒绝|回绝|推辞|辞职|请假|对话|剧本|脚本|台词|回复|话术"
    r"|\b(?:excuses?|apolog\w+|declin\w+|resign\w*|reject\w*|refus\w+|dialogues?|scripts?|conversation|reply|responses? to)\b",
    re.IGNORECASE,
)
_SPEAKER = re.compile(
    r"^[^\S\n]*[*_]{0,2}[^\s:：，。！？]{1,12}(?: [^\s:：，。！？]{1,12})?[*_]{0,2}[^\S\n]{0,2}[:：].*$", re.MULTILINE
)
_REFUSES_TO_WRITE = re.compile(
    r"(?:无法|不能够?|没法|没办法|拒绝)[^，。！？\n]{0,8}(?:请求|要求|回答|生成|撰写|编写|创作|写|满足|协助|提供)"
    r"|(?:can't|cannot|unable to|won't|not able to|decline to) (?:\w+ )?"
    r"(?:assist|help|provide|fulfill?|write|generate|create|comply|answer)|against my"
)


class Refusal:
    """Removes answers that refuse, disclaim or claim to be another assistant, and questions put to another assistant by name.

    Args:
        names: further names of assistants, such as "Grok".
        questions: whether questions are looked at as well; `plain_instruction` before this filter saves many of them.
    """

    def __init__(self, *, names: tuple[str, ...] = (), questions: bool = True) -> None:
        if any(not name.strip() for name in names):
            raise BelleError("refusal: an empty name is in every text", "take it out of names")
        self.questions = questions
        more = "|".join(re.escape(unicodedata.normalize("NFKC", name).casefold()) for name in names)
        self._more = re.compile(rf"(?:我(?:是|叫)|i(?: am|'m)|名字(?:是|叫)|my name is|由|by)\s*(?:{more})") if names else None

    def __call__(self, record: Curated) -> Drop | None:
        """The first sign of another assistant, or of an answer that is none."""
        if isinstance(record, Document):
            return self._answer(record.text)
        for each in rounds(record):
            if each.answer is not None and (drop := self._answer(each.answer, each.question)):
                return drop
            if self.questions and (drop := self._question(each.question)):
                return drop
        return None

    def _answer(self, text: str, question: str = "") -> Drop | None:
        text = _plain(text)
        if self._more and (found := self._more.search(text)):
            return Drop("claims to be another assistant", found.group()[:60])
        spoken = _QUOTED.sub("“”", text)
        if len(_SPEAKER.findall(spoken)) >= 2 and _ASKS_FOR_SPEECH.search(question):
            spoken = _SPEAKER.sub("", spoken)
        if any(stem in spoken for stem in _IDENTITY_STEMS) and (found := _IDENTITY_PATTERN.search(spoken) or _made_me(spoken)):
            return Drop("speaks as an assistant", found.group().strip()[:60])
        if (
            any(stem in spoken for stem in _REFUSAL_STEMS)
            and not _LETTER.match(text)
            and (found := _REFUSAL_PATTERN.search(spoken))
            and not (_ASKS_FOR_SPEECH.search(question) and not _REFUSES_TO_WRITE.search(spoken))
        ):
            return Drop("refuses", found.group().strip()[:60])
        return None

    def _question(self, text: str) -> Drop | None:
        text = _plain(text)
        if any(stem in text for stem in _NAME_STEMS) and (found := _ADDRESSED_PATTERN.search(_QUOTED.sub("“”", text))):
            return Drop("asks another assistant", found.group().strip()[:60])
        return None


def _made_me(text: str) -> re.Match[str] | None:
    """OpenAI训练了我: the maker as the subject."""
    return _MADE_ME.search(text) if "了我" in text else None


def _plain(text: str) -> str:
    """Half-width, simplified, lower case, straight apostrophes: what the patterns are written in."""
    if not text.isascii():
        text = plain_chinese(unicodedata.normalize("NFKC", text) if _WIDE.search(text) else text)
        if " " in text:
            text = _LOOSE.sub("", text)  # 一个 AI 语言模型 is written with spaces and without
    return text.lower().replace("’", "'")
