"""What an instruction tells to do to what: (写, 诗), (翻译, 句子), (write, poem). Rules over words and their kinds, no parser.

Wang et al. (2022, "Self-Instruct") count such pairs to show how diverse a set of instructions is.
"""

from __future__ import annotations

import re

from belle.curation.words import has_han, tagged, word_list, words

REACH = 60
"""Characters of the beginning that are looked at."""
_LIGHT = word_list("chinese_leading")
"""Verbs that only lead to the one that counts. Where no other follows, the last of some of these is taken."""
_FALLBACK = word_list("chinese_leading_spare")
_NOUN = ("n", "s", "t", "vn", "an", "j", "i", "l", "eng")
_INSIDE = ("m", "q", "r", "a", "b", "uj", "ud", "f", "d", "p", "z", "h", "k")
"""Kinds that may stand between a verb and the noun it is about."""
_BA = ("把", "将")
_TAIL = re.compile(r"(?<=.)(?:成|为)$|(?<=..)(?:出|到|一下)$")
_WHOLE = word_list("chinese_whole")
"""Verbs whose end only looks like a complement."""
_ALSO_VERBS = word_list("chinese_also_verbs")
"""Words that the dictionary takes for nouns as well, and that mean the verb where an instruction begins with them."""
_BREAK = re.compile(r"[。！？!?\n；;]")

_POLITE = word_list("english_leading")
_CLAUSE = re.compile(
    r"^(?:given|based|using|considering|from|for|in|with|after|before|if|as|when|according|assume|suppose|imagine)\b[^,:.]*[,:]\s*",
    re.IGNORECASE,
)
"""What a sentence may begin with before it tells to do something."""
_STOPS = word_list("english_phrase_ends")
_BEFORE_NOUN = word_list("english_before_noun")
_NO_VERB = word_list("english_no_verb")


def verb_object(text: str) -> tuple[str, str] | None:
    """(verb, object) of an instruction; the object may be ""; None where nothing is told to be done, as in most questions."""
    for clause in _BREAK.split(text.strip()[: 4 * REACH])[:3]:
        if not clause.strip():
            continue
        found = _chinese(clause[:REACH]) if has_han(clause[:REACH]) else _english(clause[: 2 * REACH])
        if found is not None:
            return found
    return None


def _chinese(clause: str) -> tuple[str, str] | None:
    parts = [(word, "v") if word in _ALSO_VERBS else (word, kind) for word, kind in tagged(clause)]
    for place, (word, kind) in enumerate(parts):
        if word in _BA and kind in ("p", "d"):
            found = _behind_ba(parts[place + 1 :])
            if found is not None:
                return found
    spare = None
    for place, (word, _) in enumerate(parts):
        if word == "给" and _kind(parts, place + 1) == "r" and _kind(parts, place + 2) in ("m", "q", "n", "uj"):
            return word, _object(parts[place + 2 :])  # 给 我 五个 点子
        if not _is_verb(parts[place]):
            continue
        if word in _LIGHT:
            spare = spare or (place if word in _FALLBACK else None)
            continue
        if _kind(parts, place) == "vn" and _kind(parts, place + 1).startswith("n"):
            continue  # 翻译 软件: the verb is part of a name
        return _bare(word), _object(parts[place + 1 :])
    return (parts[spare][0], _object(parts[spare + 1 :])) if spare is not None else None


def _behind_ba(parts: list[tuple[str, str]]) -> tuple[str, str] | None:
    """把 下面 的 句子 翻译成 英文: the noun before the verb is what it is about."""
    noun = ""
    for place, (word, kind) in enumerate(parts):
        if _is_verb(parts[place]) and noun and word not in _LIGHT and _kind(parts, place + 1) != "uj":
            return _bare(word), noun
        if kind.startswith(_NOUN) and kind != "l":
            noun = word
    return None


def _object(parts: list[tuple[str, str]]) -> str:
    """The noun behind the last 的 before the clause ends, else the last noun before another verb."""
    end = next((i for i, (word, kind) in enumerate(parts) if kind in ("x", "w") and word not in '“”"《》「」'), len(parts))
    parts = parts[:end]
    of = max((i for i, (word, _) in enumerate(parts) if word == "的"), default=-1)
    noun = ""
    for word, kind in parts[of + 1 :]:
        if kind.startswith(_NOUN):
            noun = word
        elif noun and not kind.startswith(_INSIDE):
            break
    return noun


def _kind(parts: list[tuple[str, str]], place: int) -> str:
    return parts[place][1] if place < len(parts) else ""


def _is_verb(part: tuple[str, str]) -> bool:
    return part[1].startswith("v") or (part[1] == "l" and _TAIL.search(part[0]) is not None)


def _bare(verb: str) -> str:
    return verb if verb in _WHOLE else _TAIL.sub("", verb)


def _english(clause: str) -> tuple[str, str] | None:
    clause = re.sub(r"^[\s\d.()#*-]+", "", clause)
    found = words(_CLAUSE.sub("", clause))
    while found and found[0] in _POLITE:
        found = found[1:]
    if not found or found[0] in _NO_VERB or found[0].isdigit():
        return None
    verb, rest = found[0], found[1:]
    # Only what stands before the next comma or colon belongs to the verb.
    until = len(words(re.split(r"[,:]", _CLAUSE.sub("", clause), maxsplit=1)[0]))
    rest = rest[: max(0, until - 1)]
    noun = ""
    for word in rest:
        if word in _STOPS:
            if noun or word not in ("of",):
                break
            continue
        if word in _BEFORE_NOUN or word.isdigit():
            continue
        noun = word
    return verb, noun
