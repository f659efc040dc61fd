"""Personal data: the filter `personal_data` and the edit `mask_personal_data`.

Mobile numbers of China, telephone numbers of North America, identity numbers of China (18 characters, GB 11643, checksum
ISO 7064 MOD 11-2), bank cards (ISO/IEC 7812, Luhn's checksum), e-mail addresses and postal addresses of homes.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from belle.curation.items import Drop
from belle.curation.rounds import turns, with_texts
from belle.curation.texts import Curated
from belle.errors import BelleError

Kind = Literal["identity", "bank_card", "mobile", "phone", "email", "address"]
KINDS: tuple[Kind, ...] = ("identity", "bank_card", "mobile", "phone", "email", "address")

MASKS: dict[Kind, str] = {
    "mobile": "[手机号]",
    "phone": "[电话]",
    "identity": "[身份证号]",
    "bank_card": "[银行卡号]",
    "email": "[邮箱]",
    "address": "[地址]",
}
"""What stands in the place of each kind after masking, unless the recipe says otherwise."""

_FULL_WIDTH = {0xFF10 + n: ord("0") + n for n in range(10)} | {
    0xFF38: ord("X"),
    0xFF58: ord("x"),
    0xFF20: ord("@"),
    0xFF0E: ord("."),
    0xFF0D: ord("-"),
}
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_CHECKS = "10X98765432"
_PROVINCES = frozenset(
    map(str, [*range(11, 16), 21, 22, 23, *range(31, 38), *range(41, 47), *range(50, 55), *range(61, 66), 71, 81, 82, 83])
)

# Not within a longer number, a decimal, a code with letters or a sum.
_BEFORE = r"(?<![\dA-Za-z_])(?<!\d[.,])(?<!\d[ -])"
_AFTER = r"(?![\dA-Za-z_])(?![.,]\d)(?![ -]\d)"
_LONG_NUMBER = re.compile(r"\d[\d ().-]{8}")
_MOBILE = re.compile(rf"{_BEFORE}(?:(?:\+|00)?86[- ]?)?1[3-9]\d(?:[- ]?\d{{4}}){{2}}{_AFTER}")
# Ten digits as North America writes them; the free lines of offices are public.
_PHONE = re.compile(
    r"(?<![\dA-Za-z_])(?:\+?1[-. ]?)?(?:\((?!400|8(?:00|33|44|55|66|77|88))[2-9]\d{2}\) ?|(?!400|8(?:00|33|44|55|66|77"
    r"|88))[2-9]\d{2}[-.])[2-9]\d{2}[-. ]\d{4}(?![\dA-Za-z_])(?![.,-]\d)"
)
_IDENTITY = re.compile(
    r"(?<![\dA-Za-z_])\d{6}[- ]?(?:18|19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])[- ]?\d{3}[\dXx](?![\dA-Za-z_])"
)
_CARD = re.compile(
    rf"{_BEFORE}(?:[3-6]\d{{3}}(?:[- ]\d{{4}}){{2,3}}(?:[- ]\d{{1,4}})?|3[47]\d{{2}}[- ]\d{{6}}[- ]\d{{5}}"
    rf"|[3-6]\d{{12,18}}){_AFTER}"
)
_EMAIL = re.compile(r"(?<![\w.+-])[A-Za-z0-9][\w.+-]{0,63}@(?:[A-Za-z0-9-]{1,63}\.){1,4}[A-Za-z]{2,12}(?![\w-])", re.ASCII)
# Boxes of an office are public, and domains that are reserved for examples (RFC 2606) belong to nobody.
_PUBLIC_BOX = re.compile(
    r"(?:info|support|service|services|contact|hr|admin|sales|no-?reply|help|helpdesk|office|press|customer[\w.-]*|kefu"
    r"|webmaster|postmaster|jobs|job|careers|feedback|marketing|hello|team|mail|"
    r"user(?:name)?\d*|your[\w.]*|name|someone|abc\d*|xxx+|test\d*|example\d*|zhaopin|bookings?|enquir(?:y|ies)|billing"
    r"|security|privacy|editor|news(?:letter)?|media)@",
    re.IGNORECASE,
)
_EXAMPLE_HOST = re.compile(
    r"@(?:[\w-]+\.)*(?:example|test|invalid|localhost|domain|yourdomain|xxx+|abc|email|company|yourcompany"
    r"|mycompany)(?:\.[\w.]+)?$|\.(?:example|test|invalid)$|@(?:mail\.)?(?:com|cn)$",
    re.IGNORECASE,
)
_NOT_A_PHONE = re.compile(r"(?:[=+*/×÷<>≈^]|\d\s*-|加|减|乘|除以|等于|等於|plus|minus|times|equals?)\s*$")
_NOT_A_PHONE_AFTER = re.compile(r"\s*(?:[=+*/×÷<>≈^]|-\s*\d|加|减|乘|除以|等于|米|元|公里|年|字节|人|个|吨|次)")
_NOT_A_CARD = re.compile(
    r"(?:单号|订单号?|编号|流水号?|序列号|货号|条码|条形码|书号|时间戳|order(?: number| no\.?)?|invoice|tracking(?: number)?"
    r"|serial(?: number)?|isbn"
    r"|timestamp|id)\s*(?:是|为|[:：#])?\s*$",
    re.IGNORECASE,
)
# Numbers that payment companies print for testing, and counting or repeated digits.
_TEST_CARDS = frozenset(
    (
        "4111111111111111", "4242424242424242", "5555555555554444", "378282246310005", "4012888888881881",
        "5105105105105100", "6011111111111117", "3530111333300000", "4000056655665556", "6200000000000005",
    )
)  # fmt: skip

_PLACE_ZH = r"[\u4e00-\u9fff]{1,10}?(?:省|自治区|市|区|县|镇|乡|新区|街道|旗)"
_STREET_ZH = r"[\u4e00-\u9fff\d]{1,10}?(?:路|街|巷|弄|大道|道|胡同|里|村|小区|花园|苑|新村|家园|公寓|社区|大厦)"
_NUMBER_ZH = r"(?:\d{1,5}|[一二三四五六七八九十百]{1,5})\s*(?:号楼?|弄|栋|幢|座|单元|室|组|户|楼|层|门|號|號樓|樓|巷|之\d)"
_ADDRESS_ZH = re.compile(
    rf"(?:{_PLACE_ZH}){{0,4}}{_STREET_ZH}(?:[东南西北中段]{{0,2}})\s*(?:\d{{1,5}}(?:号|弄|巷"
    rf"|號)?\s*(?:院)?\s*[\u4e00-\u9fff]{{0,8}}?\s*)?(?:{_NUMBER_ZH}\s*){{1,4}}(?:\d{{2,5}}(?:室|号|房|户)?)?"
)
_HOUSE_NUMBER = re.compile(r"[\d一二三四五六七八九十百]\s*(?:号|弄|栋|幢|座|单元|室|號)")
_HOME_ZH = re.compile(r"室|单元|[栋幢座]|号楼|弄\d|\d户|號樓|樓之|\d{3,4}房|组\d")
_LIVES_ZH = re.compile(
    r"(?:住址|家住|住在|现住|家庭地址|居住地址|收货地址|收件地址|送货地址|寄送?到|寄往|寄至|送到|搬到|搬去|我家|他家|她家|家在"
    r"|户籍|收件人|地址|通信处|通讯地址|籍贯|租住|老家)[^。！？\n]{0,16}$"
)
_FAMOUS_ZH = re.compile(
    r"白宫|总统府|故宫|博物馆|大学|图书馆|政府|派出所|法院|医院|公司|总部|饭店|酒店|餐厅|旅馆|书店|银行|车站|邮局|学校|使馆"
    r"|领事馆|景区|公园|大楼位于|门店|营业部|福尔摩斯|故居|旧址"
)
_STREET_EN = (
    r"\d{1,5}[A-Za-z]?,?\s+(?:[NSEW]\.?\s+)?(?:[A-Z][a-z'’]+\s+){1,3}(?:Street|St|Road|Rd|Avenue|Ave|Lane|Ln|Drive|Dr|Close"
    r"|Court|Ct|Crescent|Way|Place|Pl|Terrace|Boulevard|Blvd|Square|Sq|Gardens|Grove|Mews|Hill|Circle|Row|Walk|Parkway)\b\.?"
)
_STREET_WORD = re.compile(
    r"\d[^\n]{0,60}\b(?:St|Rd|Ave?|Lane|Ln|Dr|Drive|Close|Court|Ct|Crescent|Cres|Way|Place|Pl|Terrace|Boulevard|Blvd|Square|Sq"
    r"|Gardens|Grove|Mews|Hill|Circle|Row|Walk|Parkway|Street|Road|Avenue)\b"
)
_POST_EN = r"(?:[A-Z]{1,2}\d[A-Z\d]?\s*\d[A-Z]{2}|[A-Z]{2}\.?,?\s+\d{5}(?:-\d{4})?|[A-Z][a-z]+,?\s+\d{4,5})\b"
_ADDRESS_EN = re.compile(
    rf"(?:(?:Flat|Apartment|Apt\.?|Unit|Suite)\s+\w{{1,5}},?\s+)?{_STREET_EN}(?:[\s,]+(?:Apt\.?|Apartment|Unit|Flat"
    rf"|#)\s*\w{{1,5}})?(?:[\s,]+(?:[A-Z][a-z]+[\s,]*){{1,3}})?(?:[\s,]*{_POST_EN})?"
)
_HOME_EN = re.compile(rf"{_POST_EN}\s*$|\b(?:Apt|Apartment|Flat|Unit)\b")
_LIVES_EN = re.compile(
    r"\b(?:lives?|living|resides?|residing|home address|my address|address is|deliver(?:ed)? to|ship(?:ped)? to|send (?:it|them"
    r"|the parcel) to|moved to|house at|home at|address:)\b[^.!?\n]{0,24}$",
    re.IGNORECASE,
)
_PUBLIC_EN = re.compile(
    r"museum|library|hotel|restaurant|university|headquarters|white house|downing street|baker street|embassy|store|office of"
    r"|company|theatre|theater|station|cathedral|gallery|hall\b|sherlock|town hall|clinic|hospital|shop",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Found:
    """A piece of personal data: its kind and its place, text[start:end]."""

    kind: Kind
    start: int
    end: int


class PersonalData:
    """Removes records with personal data: mobile and identity numbers, bank cards, e-mail and home addresses.

    Args:
        kinds: what is looked for, of identity, bank_card, mobile, phone, email and address.
    """

    def __init__(self, *, kinds: tuple[Kind, ...] = KINDS) -> None:
        self.kinds = _checked(kinds)

    def __call__(self, record: Curated) -> Drop | None:
        """The first piece of personal data; the detail tells what it is and where, but does not repeat it."""
        for number, text in enumerate(turns(record), start=1):
            for found in find(text, self.kinds):
                return Drop(found.kind.replace("_", " "), f"turn {number}, characters {found.start} to {found.end}")
        return None


class MaskPersonalData:
    """Puts a mask, such as [手机号], in the place of personal data.

    Args:
        kinds: what is masked, of identity, bank_card, mobile, phone, email and address.
        masks: other masks than belle's, by kind: {mobile: "<PHONE>"}.
    """

    def __init__(self, *, kinds: tuple[Kind, ...] = KINDS, masks: dict[Kind, str] | None = None) -> None:
        self.kinds = _checked(kinds)
        self.masks = MASKS | (masks or {})

    def __call__(self, record: Curated) -> Curated:
        """The record with masks; the same one where there is nothing to mask."""
        return with_texts(record, self.text)

    def text(self, text: str) -> str:
        """One text with masks."""
        parts: list[str] = []
        end = 0
        for found in find(text, self.kinds):
            parts += [text[end : found.start], self.masks[found.kind]]
            end = found.end
        return "".join([*parts, text[end:]]) if parts else text


def find(text: str, kinds: tuple[Kind, ...] = KINDS) -> list[Found]:
    """The personal data of a text, in order; where two would overlap, the kind that stands first in KINDS wins."""
    found: list[Found] = []
    folded = text if text.isascii() else text.translate(_FULL_WIDTH)
    long_number = _LONG_NUMBER.search(folded)
    for kind in KINDS:
        if kind in kinds and (long_number or kind in ("email", "address")):
            for each in _SEARCHES[kind](folded):
                if all(each.end <= other.start or other.end <= each.start for other in found):
                    found.append(each)
    return sorted(found, key=lambda each: each.start)


def identity_number(text: str) -> bool:
    """Whether 18 characters are an identity number: a province, a day that exists, and the checksum of ISO 7064 MOD 11-2."""
    if not re.fullmatch(r"\d{17}[\dXx]", text, re.ASCII) or text[:2] not in _PROVINCES:
        return False
    try:
        datetime.date(int(text[6:10]), int(text[10:12]), int(text[12:14]))
    except ValueError:
        return False
    return text[-1].upper() == _CHECKS[sum(int(char) * weight for char, weight in zip(text, _WEIGHTS, strict=False)) % 11]


def luhn(digits: str) -> bool:
    """Whether the digits satisfy Luhn's checksum: from the right, every second doubled, its digits added, the sum is 0 mod 10."""
    if not digits.isascii() or not digits.isdigit():
        return False
    total = sum(int(char) if n % 2 == 0 else (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)[int(char)] for n, char in enumerate(reversed(digits)))
    return total % 10 == 0


def _checked(kinds: tuple[Kind, ...]) -> tuple[Kind, ...]:
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown or not kinds:
        raise BelleError(f"personal_data: no such kind: {unknown or 'none given'}", f"the kinds are {', '.join(KINDS)}")
    return kinds


def _digits(text: str) -> str:
    return "".join(char for char in text if char.isdigit())


def _mobiles(text: str) -> Iterator[Found]:
    for match in _MOBILE.finditer(text):
        digits = _digits(match.group())[-11:]
        if len(set(digits[3:])) == 1 or digits in ("13800138000", "12345678901") or digits[1:] in "0123456789012345":
            continue
        if not _NOT_A_PHONE.search(text[max(0, match.start() - 12) : match.start()]) and not _NOT_A_PHONE_AFTER.match(
            text, match.end()
        ):
            yield Found("mobile", match.start(), match.end())


def _phones(text: str) -> Iterator[Found]:
    for match in _PHONE.finditer(text):
        if not _NOT_A_PHONE.search(text[max(0, match.start() - 12) : match.start()]):
            yield Found("phone", match.start(), match.end())


def _identities(text: str) -> Iterator[Found]:
    for match in _IDENTITY.finditer(text):
        if identity_number(re.sub("[ -]", "", match.group())):
            yield Found("identity", match.start(), match.end())


def _cards(text: str) -> Iterator[Found]:
    for match in _CARD.finditer(text):
        digits = _digits(match.group())
        if not 13 <= len(digits) <= 19 or digits in _TEST_CARDS or len(set(digits)) <= 2 or not luhn(digits):
            continue
        if not _NOT_A_CARD.search(text[max(0, match.start() - 24) : match.start()]):
            yield Found("bank_card", match.start(), match.end())


def _emails(text: str) -> Iterator[Found]:
    if "@" not in text:
        return
    for match in _EMAIL.finditer(text):
        if not _PUBLIC_BOX.match(match.group()) and not _EXAMPLE_HOST.search(match.group()):
            yield Found("email", match.start(), match.end())


def _addresses(text: str) -> Iterator[Found]:
    for match in _addresses_zh(text):
        around = text[max(0, match.start() - 30) : match.start()]
        lives = _LIVES_ZH.search(around) or _LIVES_ZH.search(around + match.group()[: match.group().rfind("号")])
        if (_HOME_ZH.search(match.group()) or lives) and not _FAMOUS_ZH.search(around + match.group()):
            yield Found("address", match.start(), match.end())
    for match in _ADDRESS_EN.finditer(text) if _STREET_WORD.search(text) else ():
        around = text[max(0, match.start() - 60) : match.start()]
        if (_HOME_EN.search(match.group().rstrip()) or _LIVES_EN.search(around)) and not _PUBLIC_EN.search(
            around + match.group()
        ):
            yield Found("address", match.start(), match.end())


def _addresses_zh(text: str) -> Iterator[re.Match[str]]:
    """Addresses around the number of a house, since a search through the whole text would be slow."""
    end = 0
    for number in _HOUSE_NUMBER.finditer(text):
        if number.start() < end:
            continue
        for match in _ADDRESS_ZH.finditer(text, max(end, number.start() - 40), min(len(text), number.end() + 40)):
            yield match
            end = match.end()


_SEARCHES = {
    "identity": _identities,
    "bank_card": _cards,
    "mobile": _mobiles,
    "phone": _phones,
    "email": _emails,
    "address": _addresses,
}
