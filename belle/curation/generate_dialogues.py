"""The kinds `multi_turn` (a given first round is continued) and `role_play` (a role, and a dialogue with it)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from belle.curation.generate_tasks import examples, first_round, request
from belle.curation.kinds import Candidate, Reject, Settings, View
from belle.curation.parse_dialogue import parse_dialogue
from belle.curation.prompt_files import load_prompt, load_topics
from belle.curation.texts import fold
from belle.errors import BelleError
from belle.records import Conversation, Document, Message

if TYPE_CHECKING:
    from belle.inference.backend import Answer, Request

SPEAKERS = {"zh": ("用户：", "助手："), "en": ("User: ", "Assistant: ")}


class Continuations:
    """More rounds behind a given first one, which fixes the subject and stays word for word."""

    needs: ClassVar[str] = "conversations"
    against_seeds: ClassVar[bool] = False
    novelty: ClassVar[float] = 1.0
    category = ""
    per_request = 1

    def __init__(self, seeds: Sequence[Conversation], data: Sequence[Conversation | Document], settings: Settings) -> None:
        self.settings = settings
        self.records = [record for record in data if isinstance(record, Conversation)]
        for record in self.records:
            if not all(first_round(record)):
                raise BelleError(
                    f"{record.source}: multi_turn continues a first round, and it has no answer", "use kind=answer first"
                )
        self.total = len(self.records)
        places = {"question": True, "answer": True, "rounds": True}
        self.prompt = load_prompt(settings.prompts, "multi_turn", settings.language, places)

    def compose(self, i: int, view: View) -> Request | None:
        """One record's first round."""
        if i >= self.total:
            return None
        question, answer = first_round(self.records[i])
        return request("multi_turn", i, self.prompt.fill(question=question, answer=answer, rounds=self.settings.rounds))

    def read(self, i: int, answer: Answer) -> list[Candidate | Reject]:
        """The first round and those that were written; where an answer begins with the first round again, that is passed over."""
        dialogue = parse_dialogue(answer.text, answer.finish)
        found: list[Candidate | Reject] = [Reject(reason, "", text) for text, reason in dialogue.rest]
        question, reply = first_round(self.records[i])
        turns = dialogue.turns
        if turns and fold(turns[0].content) == fold(question):
            turns = turns[2:]
        if not turns:
            return found or [Reject("nothing was added", "", answer.text)]
        system = [message for message in self.records[i].messages[:1] if message.role == "system"]
        messages = (*system, Message("user", question), Message("assistant", reply), *turns)
        return [
            *found,
            Candidate(replace(self.records[i], messages=messages), "\n".join([question, *(t.content for t in turns)])),
        ]


class Roles:
    """Roles as system turns, each with a dialogue."""

    needs: ClassVar[str] = ""
    against_seeds: ClassVar[bool] = True
    novelty: ClassVar[float] = 0.7
    category = "chat"
    per_request = 1
    total = None

    def __init__(self, seeds: Sequence[Conversation], data: Sequence[Conversation | Document], settings: Settings) -> None:
        self.settings = settings
        places = {"topic": True, "rounds": True, "known": False}
        self.prompt = load_prompt(settings.prompts, "role_play", settings.language, places)
        self.topics = load_topics(settings.prompts, "role_play", settings.language)

    def compose(self, i: int, view: View) -> Request | None:
        """A topic by lot, and some roles that are there already and are not wanted again."""
        roles = [_role(record) for record in examples(replace(view, seeds=()), replace(self.settings, ratio=1.0))]
        none = "（还没有）" if self.settings.language == "zh" else "(none yet)"
        known = "\n".join(f"- {role}" for role in roles if role) or none
        topic = view.random.choice(self.topics)
        return request("role_play", i, self.prompt.fill(topic=topic, rounds=self.settings.rounds, known=known))

    def read(self, i: int, answer: Answer) -> list[Candidate | Reject]:
        """The role and the scene become the system turn."""
        dialogue = parse_dialogue(answer.text, answer.finish)
        found: list[Candidate | Reject] = [Reject(reason, "", text) for text, reason in dialogue.rest]
        role = "\n".join(dialogue.fields[name] for name in ("role", "scene") if dialogue.fields.get(name))
        if not dialogue.turns:
            return found
        if not dialogue.fields.get("role"):
            return [*found, Reject("no role", "", answer.text)]
        messages = (Message("system", role), *dialogue.turns)
        return [*found, Candidate(Conversation(messages, category="chat", language=self.settings.language), role)]


def _role(record: Conversation) -> str:
    first = record.messages[0] if record.messages else None
    return first.content.split("\n")[0][:80] if first and first.role == "system" else ""
