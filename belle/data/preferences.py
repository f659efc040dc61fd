"""The formats of preference pairs: functions from a row to a `Preference`.

Each raises `MisfitError` where the row is of another format, and a plain `BelleError` where it is of this one but bad.
"""

from __future__ import annotations

from belle.data.conversations import asked, need_columns, prompt_turns, reply_turns, system_turn
from belle.data.rows import Row
from belle.data.transcript import is_transcript, read_transcript
from belle.data.turns import MisfitError, check, messages, tools, word
from belle.errors import BelleError
from belle.records import Message, Preference


def preference(row: Row) -> Preference:
    """{prompt, chosen, rejected}, each a text or turns; or {instruction, input, chosen, rejected} with texts."""
    need_columns(row, "chosen", "rejected")
    if row.get("prompt") is not None:
        return _pair(row, [*system_turn(row), *prompt_turns(row["prompt"])])
    if row.get("instruction") is None:
        raise MisfitError("no column 'prompt' or 'instruction'")
    return _pair(row, [*system_turn(row), asked(row)])


def preference_turns(row: Row) -> Preference:
    """ShareGPT's {conversations, chosen, rejected}, or the same with `messages`."""
    need_columns(row, "chosen", "rejected")
    column = "conversations" if row.get("conversations") is not None else "messages"
    need_columns(row, column)
    return _pair(row, [*system_turn(row), *messages(row[column])])


def preference_whole(row: Row) -> Preference:
    """{chosen, rejected} that each hold the whole conversation: BELLE-templated texts, or turns."""
    need_columns(row, "chosen", "rejected")
    if any(row.get(column) is not None for column in ("prompt", "instruction", "conversations", "messages")):
        raise MisfitError("the prompt has a column of its own")
    chosen, rejected = _whole(row, "chosen"), _whole(row, "rejected")
    shared = 0
    while shared < min(len(chosen), len(rejected)) - 1 and chosen[shared] == rejected[shared]:
        shared += 1
    return _checked(row, chosen[:shared], chosen[shared:], rejected[shared:])


def _whole(row: Row, column: str) -> list[Message]:
    if not isinstance(row[column], str):
        return [*system_turn(row), *messages(row[column], f"{column} turn")]
    if not is_transcript(row[column]):
        raise MisfitError(f"{column!r} is no text of the form 'Human: ... Assistant: ...'")
    return [*system_turn(row), *read_transcript(row[column])]


def _pair(row: Row, prompt: list[Message]) -> Preference:
    return _checked(row, prompt, reply_turns(row["chosen"], "chosen", prompt), reply_turns(row["rejected"], "rejected", prompt))


def _checked(row: Row, prompt: list[Message], chosen: list[Message], rejected: list[Message]) -> Preference:
    for name, turns in (("chosen", chosen), ("rejected", rejected)):
        if not turns or turns[0].role != "assistant" or turns[-1].role != "assistant":
            raise BelleError(f"{name} must begin and end with an assistant turn, after a prompt that both share")
        try:
            check([*prompt, *turns])
        except BelleError as error:
            raise BelleError(f"prompt and {name}: {error.message}", error.fix) from error
    return Preference(
        tuple(prompt), tuple(chosen), tuple(rejected), tools(row.get("tools")), word(row, "id"), word(row, "category")
    )
