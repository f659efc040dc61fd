"""The final answer of a worked problem: where it stands, whether it has a form that can be checked, whether the sums are right.

Numbers are exact fractions, never floats: 45.9 元 is 459/10.
"""

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction

_MARK = re.compile(
    r"(?:^|(?<=[\n。.；;，, ]))[ \t]*(?:[*_#>]{1,3}[ \t]*)?"
    r"(?:最终答案|最后答案|答案|答|final answer|answer)[ \t]*(?:[*_]{1,2})?[ \t]*"
    r"(?:[:：]|是[:：]?|为[:：]?|is[:：]?)[ \t]*(?:[*_]{1,2})?(?P<answer>[^\n]*)",
    re.IGNORECASE,
)
_BOXED = re.compile(r"\\boxed\s*\{((?:[^{}]|\{[^{}]*\})*)\}")
_HASHES = re.compile(r"^#{4}[ \t]*(?P<answer>\S[^\n]*)$", re.MULTILINE)
_DIGITS = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?"
_NUMBER = re.compile(rf"(?P<sign>[-+]?)[ ]?(?:(?P<whole>{_DIGITS})(?P<percent>[ ]?%)?)(?:[ ]?/[ ]?(?P<below>{_DIGITS}))?")
_ASSIGNED = re.compile(r"^[a-z]\w{0,3}\s*=\s*", re.IGNORECASE)
_LATEX = re.compile(r"\\d?frac\{([^{}]+)\}\{([^{}]+)\}")
_POWER = re.compile("[⁰¹²³⁴-⁹]+")
_EQUATION = re.compile(
    rf"(?<![A-Za-z0-9_.)^+*/-])(?<![-+*/^] )(?<!\d,)"
    rf"(?P<left>[-(]*(?:{_DIGITS})(?:[ ]?[-+*/][ ]?[-(]*(?:{_DIGITS})%?[)]*)+)[ ]?=[ ]?"
    rf"(?P<right>-?(?:{_DIGITS})(?:/\d+)?)(?P<after>%?)(?![\w.]*\d|[ ]?[-+*/(^])"
)
_TOKEN = re.compile(rf"[ ]*(?:(?P<number>{_DIGITS})(?P<percent>%)?|(?P<sign>[-+*/()]))")
LONGEST = 60
"""Characters of a final answer; what is longer is a sentence, not an answer to be checked."""


def final_answer(text: str) -> str | None:
    """The last thing that a text calls its answer (`答案：`, `Answer:`, `\\boxed{}`, `####`), trimmed; else None."""
    found: list[tuple[int, str]] = []
    for match in _MARK.finditer(text):
        rest = match["answer"].strip()
        if not rest:  # the answer stands on the line below
            rest = next((line.strip() for line in text[match.end() :].split("\n") if line.strip()), "")
        found.append((match.start(), rest))
    found += [(match.start(), match[1]) for match in _BOXED.finditer(text)]
    found += [(match.start(), match["answer"]) for match in _HASHES.finditer(text)]
    answer = max(found, default=(0, ""))[1]
    boxed = _BOXED.search(answer)
    answer = (boxed[1] if boxed else answer).strip().strip("*_$").strip()
    answer = re.sub(r"[。．]$|(?<!\d)\.$|(?<=\d)\.$", "", answer).strip()
    return answer or None


def plain(text: str) -> str:
    """Half-width, with * and / for × and ÷, LaTeX fractions as a/b."""
    text = _POWER.sub(lambda found: "^" + found[0], _LATEX.sub(r"\1/\2", text))  # 3² is not 32
    text = unicodedata.normalize("NFKC", text)
    for signs, one in (("×·∙✕✖", "*"), ("÷⁄∕", "/"), ("−–—－", "-"), ("，", ",")):
        text = re.sub(f"[{signs}]", one, text)
    return text.replace("\\times", "*").replace("\\div", "/").replace("\\cdot", "*").replace("\\%", "%").replace("$", "")


def value(answer: str) -> Fraction | None:
    """The number of an answer such as `45.9 元`, `x = -3`, `3/4`, `25%`; None where it is none, or several."""
    text = _ASSIGNED.sub("", plain(answer).strip())
    found = list(_NUMBER.finditer(text))
    if len(found) != 1:
        return None
    one = found[0]
    try:
        number = _fraction(one["whole"]) / (_fraction(one["below"]) if one["below"] else 1) / (100 if one["percent"] else 1)
    except (ValueError, ZeroDivisionError):
        return None
    return -number if one["sign"] == "-" else number


def form(answer: str | None) -> str:
    """Why an answer cannot be checked: "no final answer", "answer too long", "answer without a number"; "" where it can.

    Several numbers (x = 2 或 x = 3; 3:4; (1, 2)) can be compared as text, so they pass.
    """
    if not answer:
        return "no final answer"
    if len(answer) > LONGEST:
        return "answer too long"
    return "" if re.search(r"\d|π|√|\bpi\b|\\sqrt|无解|no solution", plain(answer), re.IGNORECASE) else "answer without a number"


def wrong_sum(text: str) -> str:
    """The first equation of numbers alone that does not hold, such as `8.5×6=52`; "" where there is none.

    A right side with d decimals may be rounded to them. Only sums that are written out are looked at; a dash that may be a range
    or a date, units between the numbers and letters leave an equation out.
    """
    for match in _EQUATION.finditer(plain(text)):
        left = _evaluated(match["left"])
        right = _evaluated(match["right"])
        if left is None or right is None:
            continue
        decimals = len(match["right"].partition(".")[2])
        right = right / 100 if match["after"] else right
        slack = Fraction(1, 2 * 10**decimals * (100 if match["after"] else 1)) if "." in match["right"] or _rounded(text) else 0
        if abs(left - right) > slack:
            return match[0].strip()
    return ""


def _rounded(text: str) -> bool:
    return bool(re.search(r"约|大约|四舍五入|取整|余|≈|\babout\b|approximately|\bround|remainder", text, re.IGNORECASE))


def _fraction(text: str) -> Fraction:
    if len(text) > 1 and text[0] == "0" and text[1].isdigit():
        raise ValueError(f"{text}: a date or a number of a thing, not one to reckon with")
    return Fraction(text.replace(",", ""))


def _evaluated(text: str) -> Fraction | None:
    """The value of a sum with + - * / and brackets; None where it is none, or divides by nothing."""
    tokens = [(match["number"], match["percent"], match["sign"]) for match in _TOKEN.finditer(text)]
    try:
        number, place = _sum(tokens, 0)
    except (IndexError, ValueError, ZeroDivisionError, RecursionError):
        return None
    return number if place == len(tokens) else None


_Tokens = list[tuple[str | None, str | None, str | None]]


def _sum(tokens: _Tokens, place: int) -> tuple[Fraction, int]:
    number, place = _product(tokens, place)
    while place < len(tokens) and tokens[place][2] in ("+", "-"):
        other, after = _product(tokens, place + 1)
        number, place = (number + other if tokens[place][2] == "+" else number - other), after
    return number, place


def _product(tokens: _Tokens, place: int) -> tuple[Fraction, int]:
    number, place = _factor(tokens, place)
    while place < len(tokens) and tokens[place][2] in ("*", "/"):
        other, after = _factor(tokens, place + 1)
        number, place = (number * other if tokens[place][2] == "*" else number / other), after
    return number, place


def _factor(tokens: _Tokens, place: int) -> tuple[Fraction, int]:
    number, percent, sign = tokens[place]
    if number is not None:
        return _fraction(number) / (100 if percent else 1), place + 1
    if sign == "-":
        inner, place = _factor(tokens, place + 1)
        return -inner, place
    if sign != "(":
        raise ValueError(sign)
    inner, place = _sum(tokens, place + 1)
    if tokens[place][2] != ")":
        raise ValueError("no closing bracket")
    return inner, place + 1
