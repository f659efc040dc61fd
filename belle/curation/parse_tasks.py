"""From what a model really returns to tasks, and to a reason for every bit that is none.

Two shapes are read: parts set off by labels (`task_labels.py`), and JSON (`parse_json.py`). The pieces of the result, put on
end, are the answer itself: nothing is lost in silence.

An item begins at a label for the instruction that is decorated like the first one (numbered where that is numbered, set off
where that is); lines that only count or part items, directly before it, belong to it. In an item the first label for the input
and the first for the output count; whatever follows the output's label is output, labels, headings and numbers included. What
stands in a code fence is never a label, unless the whole answer does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from belle.curation.parse_json import json_pieces, json_start
from belle.curation.parsed import CUT, Parsed, Piece, Task
from belle.curation.task_labels import FENCE, RULE, Label, header_title, is_no_input, read_label

_THOUGHT = re.compile(r"\s*<(think|thinking|thought)>", re.IGNORECASE)
ENDLESS = "thought without an end"
_PLURAL = re.compile(r"[ \t*_]{0,6}instructions[ \t*_]{0,4}:[*_]{0,2}", re.IGNORECASE)
_QUOTES = ("“”", '""', "「」", "『』", "''", "‘’")


def parse_tasks(text: str, finish: Literal["stop", "length", "error"] = "stop", need_output: bool = True) -> Parsed:
    """The tasks of an answer, in order.

    Args:
        text: the answer as the model gave it; a BOM is taken out, CR and CR LF become LF.
        finish: with "length" the last item is kept only where the mark of another one follows it, or its JSON object is closed.
        need_output: whether an item without output is none; otherwise its output is empty.

    Returns:
        Tasks, marks and unread parts. Never raises, whatever the text.
    """
    thought, text = split_thought(plain_lines(text))
    if not text.strip() and not (thought and thought[0].reason == ENDLESS):
        return Parsed((*thought, Piece("rest", text, "empty answer")))
    if not text:
        return Parsed(thought)
    found = _json(text, need_output) or _Lines(text, finish == "length", need_output).pieces()
    return Parsed((*thought, *[piece for piece in found if piece.text]))


def plain_lines(text: str) -> str:
    """The text without BOM, and with LF alone for line ends."""
    return text.replace("\ufeff", "").replace("\r\n", "\n").replace("\r", "\n")


def split_thought(text: str) -> tuple[tuple[Piece, ...], str]:
    """A `<think>` block that a text begins with, as a piece that was not read, and what follows it."""
    begin = _THOUGHT.match(text)
    if begin is None:
        return (), text
    close = f"</{begin[1]}>"
    end = re.search(re.escape(close), text[begin.end() :], re.IGNORECASE)
    if end is None:
        return (Piece("rest", text, ENDLESS),), ""
    stop = begin.end() + end.end()
    return (Piece("rest", text[:stop], "thought"),), text[stop:]


def _json(text: str, need_output: bool) -> list[Piece] | None:
    """The pieces of an answer in JSON; None where it is none, or a label stands before the first object."""
    start = json_start(text)
    if start is None or any((label := read_label(line)) and label.part == "instruction" for line in text[:start].split("\n")):
        return None
    pieces = json_pieces(text, need_output)
    sure = any(piece.task or piece.reason == CUT for piece in pieces)
    return pieces if sure or (any(piece.kind == "rest" for piece in pieces) and not _labelled(text)) else None


def _labelled(text: str) -> bool:
    return any((label := read_label(line)) and label.part == "instruction" for line in text.split("\n"))


@dataclass
class _Item:
    """Line numbers: where its head and its label stand, and where the next one's head does."""

    head: int
    start: int
    stop: int = 0
    category: str = ""
    title: str = ""


class _Lines:
    """An answer whose parts are set off by labels."""

    def __init__(self, text: str, cut: bool, need_output: bool) -> None:
        lines = text.split("\n")
        self.raw = [line + "\n" for line in lines[:-1]] + lines[-1:]
        self.lines, self.cut, self.need_output = lines, cut, need_output
        self.begin, self.end = self._unwrapped()
        self.labels: list[Label | None] = [read_label(line) for line in lines]
        for number, line in enumerate(lines):
            # 'Instructions:' heads a recipe's steps in many an answer; only right behind a class it means the instruction.
            if (plural := _PLURAL.match(line)) and (category := self._category_before(number)):
                self.labels[number] = Label("instruction", "instruction", False, category.marked, line[plural.end() :])
        self.fenced = set(self._fenced())
        for number in self.fenced:
            self.labels[number] = None

    def _category_before(self, number: int) -> Label | None:
        label = next((self.labels[n] for n in range(number - 1, -1, -1) if self.lines[n].strip()), None)
        return label if label and label.part == "category" else None

    def pieces(self) -> list[Piece]:
        """All of the text."""
        items = self._items()
        before, behind = self._text(0, self.begin), self._text(self.end, len(self.lines))
        if not items:
            inside = self._in_fences()
            return inside or [Piece("rest", "".join(self.raw), "no task found")]
        out = [Piece("mark", before), _rest(self._text(self.begin, items[0].head), "before the first task")]
        for item in items:
            out += self._item(item, last=item is items[-1])
        return [*out, Piece("mark", behind)]

    def _unwrapped(self) -> tuple[int, int]:
        """The lines inside a code fence around the whole answer; all lines where there is none."""
        full = [number for number, line in enumerate(self.lines) if line.strip()]
        if len(full) > 2 and not self._fence_for_each():
            first, last = FENCE.match(self.lines[full[0]]), FENCE.match(self.lines[full[-1]])
            inner = self.lines[full[1]]
            if first and (read_label(inner) or RULE.match(inner) or header_title(inner, 1) is not None):
                if last and not last["info"] and last["mark"] == first["mark"]:
                    return full[0] + 1, full[-1]
                if self.cut:
                    return full[0] + 1, len(self.lines)
        return 0, len(self.lines)

    def _fence_for_each(self) -> bool:
        """Whether there are several fences, one after the other, each around a label or a head."""
        fences = [number for number, line in enumerate(self.lines) if FENCE.match(line)]
        inner = [
            next((line for line in self.lines[begin + 1 : end] if line.strip()), "")
            for begin, end in zip(fences[::2], fences[1::2], strict=False)
        ]
        return len(inner) > 1 and all(read_label(line) or header_title(line, 1) is not None for line in inner)

    def _fenced(self) -> list[int]:
        """The lines in code fences. A fence with numbered or parted items inside was never closed, and is none."""
        found: list[int] = []
        opened: tuple[int, str] | None = None
        for number in range(self.begin, self.end):
            label = self.labels[number]
            fence = FENCE.match(label.rest if label else self.lines[number])
            if opened and label and label.part == "instruction" and (label.numbered or self._parted(number)):
                opened = None
            if fence is None:
                continue
            mark = fence["mark"]
            if opened and not label and mark.startswith(opened[1]) and not fence["info"].strip():
                found += range(opened[0], number + 1)
                opened = None
            elif opened is None or (fence["info"].strip() and mark[0] == opened[1][0]):
                opened = (number + bool(label), mark)
        return found

    def _parted(self, number: int) -> bool:
        """Whether the line before, blank ones aside, parts items."""
        before = next((line for line in reversed(self.lines[max(number - 3, 0) : number]) if line.strip()), "")
        return bool(RULE.match(before)) or header_title(before, -1) is not None

    def _first(self) -> Label | None:
        """The label of the first instruction. `任务 1` before a `指令：` only counts."""
        seen = [label for label in self.labels[self.begin : self.end] if label and label.part != "category"]
        seen = seen[next((n for n, label in enumerate(seen) if label.part == "instruction"), len(seen)) :]
        if len(seen) > 1 and seen[1].part == "instruction" and seen[0].word != seen[1].word:
            return seen[1]
        return seen[0] if seen else None

    def _items(self) -> list[_Item]:
        first = self._first()
        items: list[_Item] = []
        if first is None:
            return items
        leading = True
        for number in range(self.begin, self.end):
            label = self.labels[number]
            if label is None or label.part != "instruction" or label.word != first.word:
                continue
            alike = (label.numbered or not first.numbered) and (label.marked or not first.marked)
            if items and not alike and not self._parted(number):
                continue
            item = self._head(number, items[-1].start if items else self.begin - 1, len(items) + 1, leading)
            if not items:
                leading = bool(item.category)
            items.append(item)
        for item, after in zip(items, [*(item.head for item in items[1:]), self.end], strict=True):
            item.stop = after
        return items

    def _head(self, start: int, low: int, expected: int, leading: bool) -> _Item:
        """The item that begins at a label, with the lines directly before it that count, part or class it."""
        item = _Item(start, start)
        counted = False
        number = start - 1
        while number > low:
            line, label = self.lines[number], self.labels[number]
            if not line.strip():
                number -= 1
                continue
            title = None if counted else header_title(line, expected)
            above = self.labels[number - 1] if number - 1 > low else None
            if leading and label and label.part == "category" and not item.category and not counted:
                item.category = label.rest.strip()
            elif leading and above and above.part == "category" and not above.rest.strip() and not item.category and not counted:
                number -= 1  # the class stands on the line below its label
                item.category = line.strip()
            elif RULE.match(line):
                pass
            elif title is not None:
                counted, item.title = True, title
            else:
                break
            item.head = number
            number -= 1
        return item

    def _item(self, item: _Item, last: bool) -> list[Piece]:
        """The pieces of an item's lines: itself, perhaps the title of its head, perhaps what follows a mark behind it."""
        out: list[Piece] = []
        if item.title:
            out.append(Piece("rest", self._text(item.head, item.start), f"title: {item.title}"[:60]))
            item.head = item.start
        stop = item.stop
        after = self._behind(item) if last else None
        if after is not None:
            stop = after
        tail = [] if after is None else self._tail(after, item.stop)
        text = self._text(item.head, stop)
        if last and self.cut and after is None:
            return [*out, Piece("rest", text, CUT)]
        fields = {part: self._field(*place) for part, place in self._parts(item.start, stop).items()}
        if not fields["instruction"]:
            return [*out, Piece("rest", text, "empty instruction"), *tail]
        if self.need_output and not fields.get("output"):
            return [*out, Piece("rest", text, "no output"), *tail]
        return [*out, Piece("task", text, "", _task(fields, item.category)), *tail]

    def _parts(self, start: int, stop: int) -> dict[str, tuple[int, int]]:
        """part -> (line of its label, line behind its end)."""
        places = {"instruction": start}
        for number in range(start + 1, stop):
            label = self.labels[number]
            if label is None or label.part == "instruction" or label.part in places:
                continue
            places[label.part] = number
            if label.part == "output":
                break
        ends = [*sorted(places.values())[1:], stop]
        order = sorted(places, key=lambda part: places[part])
        return {part: (places[part], end) for part, end in zip(order, ends, strict=True)}

    def _field(self, start: int, stop: int) -> str:
        label = self.labels[start]
        assert label is not None
        if label.rest.strip():
            return "\n".join([label.rest.lstrip(), *self.lines[start + 1 : stop]]).rstrip()
        body = self.lines[start + 1 : stop]
        while body and not body[0].strip():
            body.pop(0)
        text = "\n".join(body).rstrip()
        return text.strip() if "\n" not in text else text

    def _behind(self, item: _Item) -> int | None:
        """The first line of the marks that end the last item: rules and, in a cut answer, the next one's number at its very end;
        or a rule like the one before the item with no more than a paragraph after it.
        """
        full = [number for number in range(item.start + 1, item.stop) if self.lines[number].strip()]
        rules = [number for number in full if number not in self.fenced and RULE.match(self.lines[number])]
        heads = {self.lines[number].strip() for number in range(item.head, item.start)}
        output = next((number for number in full if (label := self.labels[number]) and label.part == "output"), item.stop)
        begin = next((number for number in rules if number > output and self.lines[number].strip() in heads), None)
        alone = begin is not None and "\n\n" not in self._text(begin + 1, item.stop).strip() and self._field(output, begin)
        if begin is not None and alone and not any(self.labels[begin + 1 : item.stop]):
            return begin
        end = None
        while full and (full[-1] in rules or (self.cut and end is None and self._counts(full[-1], item))):
            end = full.pop()
        return end

    def _counts(self, number: int, item: _Item) -> bool:
        return item.head != item.start and number not in self.fenced and header_title(self.lines[number], -1) is not None

    def _tail(self, start: int, stop: int) -> list[Piece]:
        text = self._text(start, stop)
        if all(not line.strip() or RULE.match(line) for line in self.lines[start:stop]):
            return [Piece("mark", text)]
        return [Piece("rest", text, "after the last task")]

    def _in_fences(self) -> list[Piece]:
        """The pieces of an answer whose items stand in code fences, with other text around; empty where none does."""
        out: list[Piece] = []
        place, opened = 0, None
        for number, line in enumerate(self.lines):
            if not FENCE.match(line):
                continue
            if opened is None:
                opened = number
                continue
            inner = "".join(self.raw[opened + 1 : number])
            if _labelled(inner):
                out += [_rest(self._text(place, opened), "outside of the tasks"), Piece("mark", self.raw[opened])]
                out += _Lines(inner.removesuffix("\n"), False, self.need_output).pieces()
                out.append(Piece("mark", ("\n" if inner.endswith("\n") else "") + self.raw[number]))
                place = number + 1
            opened = None
        return [*out, _rest(self._text(place, len(self.lines)), "outside of the tasks")] if out else []

    def _text(self, start: int, stop: int) -> str:
        return "".join(self.raw[start:stop])


def _rest(text: str, reason: str) -> Piece:
    marks = all(not line.strip() or RULE.match(line) for line in text.split("\n"))
    return Piece("mark", text) if marks else Piece("rest", text, reason)


def _task(fields: dict[str, str], category: str) -> Task:
    instruction, input_, output = (fields.get(part, "") for part in ("instruction", "input", "output"))
    bare = unquoted(instruction)
    if bare != instruction:  # quotes are this item's way of setting texts off; elsewhere they belong to the text
        instruction, input_, output = bare, unquoted(input_), unquoted(output)
    return Task(instruction, "" if is_no_input(input_) else input_, output, (category or fields.get("category", "")).strip())


def unquoted(text: str) -> str:
    """The text without the quotes around it, where they are its only ones."""
    inner = text[1:-1]
    for left, right in ((pair[0], pair[1]) for pair in _QUOTES):
        if len(text) > 2 and text[0] == left and text[-1] == right and left not in inner and right not in inner:
            return inner.strip()
    return text
