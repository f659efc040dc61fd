"""The formats of conversations and documents: functions from a row to a record.

Each raises `MisfitError` where the row is of another format, and a plain `BelleError` where it is of this one but bad.
"""

from __future__ import annotations

from typing import Any

from belle.data.rows import Row, kind
from belle.data.transcript import is_open, is_transcript, read_transcript
from belle.data.turns import EmptyTextError, MisfitError, conversation, message, messages, said, text, word
from belle.errors import BelleError
from belle.records import Conversation, Document, Message

# What may stand beside a prompt that has no answer. With other columns the answer is more likely misnamed than absent.
_BESIDE_A_PROMPT = frozenset(["id", "category", "language", "tools", "system", "label"])
_BESIDE_A_QUESTION = ("reference", "std_answer", "category", "class")


def openai(row: Row) -> Conversation:
    """OpenAI's {messages: [{role, content, tool_calls}], tools}, KTO's with a label, and the rows that belle writes."""
    return _turns(row, "messages")


def sharegpt(row: Row) -> Conversation:
    """ShareGPT's and BELLE's {conversations: [{from, value}], system, tools}."""
    return _turns(row, "conversations")


def belle_multiturn(row: Row) -> Conversation:
    """BELLE's multi-turn set: instruction `Human:...\\nAssistant:...\\nHuman:...\\nAssistant:`, output the last answer."""
    _answer_column(row, "instruction", "output")
    if not is_open(row["instruction"]):
        raise MisfitError("'instruction' is no text of the form 'Human: ... Assistant:'")
    if row.get("input"):
        raise BelleError("instruction is a 'Human: ... Assistant:' text, and there is an input beside it")
    turns = [*system_turn(row), *read_transcript(text(row["instruction"], "instruction"))]
    return conversation(row, [*turns, said("assistant", row["output"], "output")] if "output" in row else turns)


def alpaca(row: Row) -> Conversation:
    """{instruction, input, output}, with system and history ([[question, answer], ...]). Input goes on a line of its own."""
    _answer_column(row, "instruction", "output", "input", "history")
    if is_open(row["instruction"]):
        raise MisfitError("'instruction' is a 'Human: ... Assistant:' text")
    turns = [*system_turn(row), *_history(row.get("history")), asked(row)]
    return conversation(row, [*turns, said("assistant", row["output"], "output")] if "output" in row else turns)


def seed_task(row: Row) -> Conversation:
    """Self-instruct's {instruction, instances: [{input, output}]} with one instance."""
    need_columns(row, "instruction", "instances")
    instances = row["instances"]
    if not isinstance(instances, list) or len(instances) != 1 or not isinstance(instances[0], dict):
        count = f"{len(instances)} items" if isinstance(instances, list) else kind(instances)
        raise BelleError(f"instances is {count}, where one [{{input, output}}] must stand", "write one row for each instance")
    one = instances[0]
    user = asked({"instruction": row["instruction"], "input": one.get("input")})
    return conversation(row, [user, said("assistant", one.get("output"), "output")])


def belle(row: Row) -> Conversation:
    """BELLE's 0.5M set as published: {input, target}."""
    need_columns(row, "input", "target")
    return conversation(row, [*system_turn(row), said("user", row["input"], "input"), said("assistant", row["target"], "target")])


def completion(row: Row) -> Conversation:
    """{prompt, completion}, each a text or turns, with KTO's label; or a prompt alone."""
    _answer_column(row, "prompt", "completion")
    turns = [*system_turn(row), *prompt_turns(row["prompt"])]
    return conversation(row, turns + reply_turns(row["completion"], "completion", turns) if "completion" in row else turns)


def evaluation(row: Row) -> Conversation:
    """{question, category or class, reference or std_answer}; a reference that is not empty becomes the answer."""
    need_columns(row, "question")
    if "answer" in row or not any(column in row for column in _BESIDE_A_QUESTION):
        raise MisfitError("'question' without category, class, reference or std_answer, or with 'answer'")
    turns = [*system_turn(row), said("user", row["question"], "question")]
    for column in ("reference", "std_answer"):
        if row.get(column) not in (None, ""):
            turns.append(said("assistant", row[column], column))
    category = row.get("category")
    return conversation({**row, "category": row.get("class") if category is None else category}, turns)


def plain_text(row: Row) -> Document:
    """{text}: a document for pre-training."""
    need_columns(row, "text")
    if not text(row["text"], "text").strip():
        raise EmptyTextError("text is empty")
    return Document(row["text"], word(row, "id"), word(row, "category"))


def belle_text(row: Row) -> Conversation:
    """{text} with a whole BELLE-templated conversation or prompt, where conversations are asked for."""
    need_columns(row, "text")
    if not is_transcript(row["text"]):
        raise MisfitError("'text' is no text of the form 'Human: ... Assistant: ...'")
    return conversation(row, read_transcript(text(row["text"], "text")))


def need_columns(row: Row, *columns: str) -> None:
    """Raise `MisfitError` unless the row has these columns, and a value in the first: tables fill with null what is absent."""
    absent = [f"no column {column!r}" for column in columns if column not in row]
    if absent or row[columns[0]] is None:
        raise MisfitError(", ".join(absent) or f"{columns[0]!r} is null")


def system_turn(row: Row) -> list[Message]:
    """The system turn of a `system` column, if that says anything."""
    value = row.get("system")
    return [] if value is None or value == "" else [said("system", value, "system")]


def asked(row: Row) -> Message:
    """The user turn of instruction and input."""
    instruction, more = row["instruction"], row.get("input")
    if more is not None and more != "":
        instruction, more = text(instruction, "instruction"), text(more, "input")
        instruction = f"{instruction}\n{more}" if instruction else more
    return said("user", instruction, "instruction")


def prompt_turns(value: Any) -> list[Message]:
    """A question, a BELLE-templated prompt that ends with `Assistant:`, or turns."""
    if not isinstance(value, str):
        return messages(value, "prompt turn")
    return read_transcript(text(value, "prompt")) if is_open(value) else [said("user", value, "prompt")]


def reply_turns(value: Any, name: str, prompt: list[Message]) -> list[Message]:
    """An answer as text, one turn or turns; turns that tell the whole conversation lose the prompt."""
    if isinstance(value, dict):
        return [message(value, name)]
    if not isinstance(value, list):
        return [said("assistant", value, name)]
    turns = messages(value, f"{name} turn")
    return turns[len(prompt) :] if turns[: len(prompt)] == prompt else turns


def _turns(row: Row, column: str) -> Conversation:
    need_columns(row, column)
    if "chosen" in row and "rejected" in row:
        raise MisfitError("a preference pair: it has 'chosen' and 'rejected'")
    return conversation(row, [*system_turn(row), *messages(row[column])])


def _answer_column(row: Row, question: str, answer: str, *beside: str) -> None:
    """The question must be there; the answer too, unless nothing stands there that could be it."""
    need_columns(row, question)
    if answer not in row and not row.keys() <= _BESIDE_A_PROMPT.union(beside, [question]):
        raise MisfitError(f"no column {answer!r}")


def _history(value: Any) -> list[Message]:
    if value is None or value == "":
        return []
    if not isinstance(value, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in value):
        raise BelleError("history is not a list of [question, answer]")
    out = []
    for number, (question, answer) in enumerate(value, 1):
        out += [said("user", question, f"history {number}"), said("assistant", answer, f"history {number}")]
    return out
