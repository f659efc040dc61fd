"""The format of multiple-choice questions, as C-Eval, CMMLU and MMLU write them: a function from a row to a record."""

from __future__ import annotations

from typing import Any

from belle.data.rows import Row, kind
from belle.data.turns import MisfitError, conversation, said, text
from belle.errors import BelleError
from belle.records import Conversation

LETTERS = "ABCDEFGHIJ"
"""Labels of the options, in their order."""


def multiple_choice(row: Row) -> Conversation:
    """{question, A, B, C, D, answer} or {question, choices, answer}: the options go under the question, the answer is a letter.

    `Question` and `Answer` may be written large (CMMLU), the answer may be an index from 0 (MMLU on the hub) or absent (C-Eval's
    test split), the category may be called `subject`. An empty option is none: tables with five columns hold questions with four.
    """
    question = "question" if row.get("question") is not None else "Question"
    if row.get(question) is None:
        raise MisfitError("no column 'question'")
    options = _options(row)
    lines = [text(row[question], question), *(f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False))]
    turns = [said("user", "\n".join(lines), question)]
    answer = _letter(row.get("answer", row.get("Answer")), len(options))
    if answer:
        turns.append(said("assistant", answer, "answer"))
    category = row.get("category")
    return conversation({**row, "category": row.get("subject") if category is None else category}, turns)


def _options(row: Row) -> list[str]:
    given = row.get("choices")
    if given is None:
        letters = [letter for letter in LETTERS if row.get(letter) not in (None, "")]
        if len(letters) < 2:
            raise MisfitError("neither columns 'A', 'B', ... nor 'choices'")
        if letters != list(LETTERS[: len(letters)]):
            raise BelleError(f"the options are {', '.join(letters)}, where {', '.join(LETTERS[: len(letters)])} must stand")
        return [text(row[letter], f"option {letter}") for letter in letters]
    if not isinstance(given, list) or not 2 <= len(given) <= len(LETTERS):
        what = f"{len(given)} items" if isinstance(given, list) else kind(given)
        raise BelleError(f"choices is {what}, where a list of 2 to {len(LETTERS)} texts must stand")
    return [text(option, f"option {letter}") for letter, option in zip(LETTERS, given, strict=False)]


def _letter(value: Any, count: int) -> str:
    """The letter of the right option; an empty text where none is given."""
    if value is None or value == "":
        return ""
    word = str(value).strip().upper()
    if not isinstance(value, bool) and word.isascii() and word.isdigit() and int(word) < count:
        return LETTERS[int(word)]
    if len(word) != 1 or word not in LETTERS[:count]:
        raise BelleError(f"answer {value!r} is none of {', '.join(LETTERS[:count])}", "write its letter, or its index from 0")
    return word
