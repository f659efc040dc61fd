"""The kind `from_document`: questions about a text and their answers, so that papers of one's own become training data."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from belle.curation.generate_tasks import first_round, read_tasks, request
from belle.curation.kinds import Candidate, Reject, Settings, View
from belle.curation.prompt_files import load_prompt
from belle.errors import BelleError
from belle.records import Conversation, Document, Message, Source

if TYPE_CHECKING:
    from belle.inference.backend import Answer, Request

TEXT_FILES = (".txt", ".md")
_SENTENCE = re.compile(r"(?<=[。！？!?；;])|(?<=\.)(?=\s)|(?<=\n)")
_POINTS = re.compile(
    r"(?:根据|依据|按照|结合|阅读)?(?:本文|文中|上文|下文|原文|该文|这篇文章|这段文字|以上内容|以上材料|上述材料|上述内容"
    r"|给定的?(?:文本|材料|段落)|材料中)"
    r"|\b(?:according to|in|from) (?:the|this) (?:text|passage|document|article)\b|\bthe (?:above|given) (?:text|passage)\b",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")


class Questions:
    """Questions that are understood without the text, with answers that stand in it; or, `with_text`, asked together with it."""

    needs: ClassVar[str] = "documents"
    against_seeds: ClassVar[bool] = True
    novelty: ClassVar[float] = 0.7

    def __init__(self, seeds: Sequence[Conversation], data: Sequence[Conversation | Document], settings: Settings) -> None:
        self.settings, self.per_request = settings, settings.tasks
        self.category = "closed_qa" if settings.with_text else "open_qa"
        documents = [document for document in data if isinstance(document, Document)]
        self.chunks = [(document, chunk) for document in documents for chunk in chunks(document.text, settings.chunk)]
        self.total = len(self.chunks)
        self.prompt = load_prompt(settings.prompts, "from_document", settings.language, {"text": True, "number": True})

    def compose(self, i: int, view: View) -> Request | None:
        """One piece of a document."""
        if i >= self.total:
            return None
        return request("from_document", i, self.prompt.fill(text=self.chunks[i][1], number=self.settings.tasks))

    def read(self, i: int, answer: Answer) -> list[Candidate | Reject]:
        """Pairs; those go that point at a text that will not be there, or say a number that does not stand in it."""
        found = read_tasks(answer, self.settings.language, self.category)
        return [self._checked(i, one) if isinstance(one, Candidate) else one for one in found]

    def _checked(self, i: int, one: Candidate) -> Candidate | Reject:
        question, answer = first_round(one.record)
        document, chunk = self.chunks[i]
        row = f"{question}\n{answer}"
        if not self.settings.with_text and (points := _POINTS.search(question)):
            return Reject("points at the text", points[0], row)
        there = set(_numbers(chunk)) | set(_numbers(question))
        if made_up := next((number for number in _numbers(answer) if number not in there and len(number) > 1), ""):
            return Reject("a number that is not in the text", made_up, row)
        if not self.settings.with_text:
            return one
        messages = (Message("user", f"{chunk}\n\n{question}"), Message("assistant", answer))
        record = Conversation(messages, category=self.category, language=self.settings.language, source=document.source)
        return Candidate(record, question)


def _numbers(text: str) -> Iterator[str]:
    return (match[0].replace(",", "") for match in _NUMBER.finditer(text))


def chunks(text: str, size: int) -> list[str]:
    """A text in pieces of at most `size` characters, cut between paragraphs, else between sentences, else anywhere.

    Put on end, without the white space between, they are the text.
    """
    out: list[str] = []
    current = ""
    for part in _parts(text, size):
        if current and len(current) + len(part) > size:
            out.append(current)
            current = ""
        current += part
    out.append(current)
    return [piece for chunk in out if (piece := chunk.strip())]


def _parts(text: str, size: int) -> Iterator[str]:
    """Paragraphs with what parts them; of those that are too long sentences; of those that are too long pieces."""
    for paragraph in re.split(r"(?<=\n)(?=[ \t]*\n)|(?<=\n\n)", text):
        if len(paragraph) <= size:
            yield paragraph
            continue
        for sentence in _SENTENCE.split(paragraph):
            for begin in range(0, len(sentence), size):
                yield sentence[begin : begin + size]


def read_texts(paths: Sequence[Path]) -> list[Document]:
    """Text files, each a document.

    Raises:
        BelleError: a file is missing, not UTF-8, or empty.
    """
    documents = []
    for path in paths:
        try:
            text = path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise BelleError(f"{path}: not UTF-8 text: {error}", "save the file as UTF-8") from error
        except OSError as error:
            raise BelleError(f"{path}: cannot be read: {error.strerror}", "check data.path") from error
        if not text.strip():
            raise BelleError(f"{path}: is empty")
        documents.append(Document(text.replace("\r\n", "\n"), id=path.stem, source=Source(str(path), 1)))
    return documents
