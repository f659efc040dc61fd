"""A model in this process, through transformers: batched answers, streams, and the loss of given texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from belle.data.chat_template import ChatTemplate
from belle.errors import BelleError
from belle.inference.backend import Answer, Finish, OnAnswer, Request, Score, Stream
from belle.inference.decoding import Decoding
from belle.inference.scoring import losses
from belle.inference.streaming import TextStream
from belle.models.load import load_model, load_tokenizer
from belle.records import Conversation
from belle.runs import sha256_text
from belle.sections import GenerationSection, ModelSection


class TransformersBackend:
    """Answers conversations with a causal language model.

    Args:
        model: in evaluation mode; an adapter may be on it.
        tokenizer: the model's.
        template: turns messages into ids, and knows the tokens that end an answer.
        batch_size: prompts answered at once.

    Attributes:
        context: tokens that prompt and answer may have together; None where the model's config sets no limit.
        end_token_ids: the template's, and those of the model's generation config.
    """

    name = "transformers"

    def __init__(self, model: Any, tokenizer: Any, template: ChatTemplate, batch_size: int = 16) -> None:
        # Inside an adapter's wrapper stands the model with the adapter's layers in it: all that is needed here.
        self._model = model.get_base_model() if hasattr(model, "get_base_model") else model
        self._tokenizer, self.template, self.batch_size = tokenizer, template, batch_size
        config = self._model.config.get_text_config()
        self.context: int | None = next(
            (value for name in ("max_position_embeddings", "n_positions") if (value := getattr(config, name, None))), None
        )
        ends = getattr(getattr(self._model, "generation_config", None), "eos_token_id", None)
        own = [] if ends is None else [ends] if isinstance(ends, int) else list(ends)
        self.end_token_ids = frozenset([*template.end_token_ids, *own])

    @classmethod
    def open(cls, section: ModelSection, batch_size: int = 16) -> TransformersBackend:
        """Load model, tokenizer and template as a recipe's `model:` names them.

        Raises:
            BelleError: there is no such model, or no template for it.
        """
        tokenizer = load_tokenizer(section)
        template = ChatTemplate.load(tokenizer, section.template)  # before the weights: a mistake here shows at once
        return cls(load_model(section), tokenizer, template, batch_size)

    def generate(
        self, requests: Sequence[Request], options: GenerationSection, on_answer: OnAnswer | None = None
    ) -> list[Answer]:
        """Answer all requests, those with prompts of like length together, the longest first (memory runs out early or not)."""
        answers: dict[int, Answer] = {}

        def keep(index: int, answer: Answer) -> None:
            answers[index] = answer
            if on_answer:
                on_answer(index, answer)

        prompts: dict[int, list[int]] = {}
        for index, request in enumerate(requests):
            try:
                prompts[index] = self._prompt(request)
            except BelleError as error:
                keep(index, Answer("", "error", 0, 0, error.message))
            except _TooLongError as error:
                keep(index, Answer("", "error", error.tokens, 0, str(error)))
        order = sorted(prompts, key=lambda index: -len(prompts[index]))
        for start in range(0, len(order), self.batch_size):
            batch = order[start : start + self.batch_size]
            texts = [TextStream(self._decode, options.stop) for _ in batch]
            tokens = [0] * len(batch)
            seeds = [_seed(options.seed, requests[index].id, prompts[index]) for index in batch]
            for row, _, finish in self._tokens([prompts[index] for index in batch], options, seeds, texts):
                tokens[row] += 1
                if finish:
                    keep(batch[row], Answer(texts[row].text, finish, len(prompts[batch[row]]), tokens[row]))
        return [answers[index] for index in range(len(requests))]

    def stream(self, request: Request, options: GenerationSection) -> Stream:
        """One answer piece by piece; the generator's value is the `Answer`.

        Raises:
            BelleError: the template cannot write the messages.
        """
        try:
            prompt = self._prompt(request)
        except _TooLongError as error:
            return Answer("", "error", error.tokens, 0, str(error))
        text, tokens, ended = TextStream(self._decode, options.stop), 0, None
        for _, piece, finish in self._tokens([prompt], options, [_seed(options.seed, request.id, prompt)], [text]):
            tokens, ended = tokens + 1, finish
            if piece:
                yield piece
        return Answer(text.text, ended or "length", len(prompt), tokens)

    def count(self, request: Request) -> int:
        """The tokens of a prompt."""
        return len(self.template.prompt(request.messages, request.tools))

    def score(self, conversations: Sequence[Conversation]) -> list[Score]:
        """The loss of each conversation's supervised tokens, in batches of like length.

        Raises:
            BelleError: a conversation is longer than the model's context, or the template cannot write it exactly.
        """
        encoded = [self.template.encode(conversation) for conversation in conversations]
        for conversation, sample in zip(conversations, encoded, strict=True):
            if self.context and len(sample.ids) > self.context:
                where = conversation.id or conversation.source
                raise BelleError(
                    f"{where}: {len(sample.ids)} tokens are more than the model's context of {self.context}",
                    "leave that conversation out, or cut it",
                )
        scores: dict[int, Score] = {}
        order = sorted(range(len(encoded)), key=lambda index: -len(encoded[index].ids))
        for start in range(0, len(order), self.batch_size):
            batch = order[start : start + self.batch_size]
            sums = losses(self._model, [encoded[index] for index in batch])
            for index, (loss, count) in zip(batch, sums, strict=True):
                sample = encoded[index]
                text = self._decode([token for token, on in zip(sample.ids, sample.mask, strict=True) if on])
                scores[index] = Score(loss, count, len(text))
        return [scores[index] for index in range(len(encoded))]

    def _prompt(self, request: Request) -> list[int]:
        prompt = self.template.prompt(request.messages, request.tools)
        if self.context and len(prompt) >= self.context:
            raise _TooLongError(len(prompt), self.context)
        return prompt

    def _tokens(
        self, prompts: list[list[int]], options: GenerationSection, seeds: list[int], texts: list[TextStream]
    ) -> Iterator[tuple[int, str, Finish | None]]:
        """Each token as (row, the text it completes, why the row ends with it if it does)."""
        rows = list(range(len(prompts)))
        limits = [min(options.max_new_tokens, (self.context or 1 << 60) - len(prompt)) for prompt in prompts]
        decoding = Decoding(self._model, prompts, options, seeds)
        made = 0
        while rows:
            chosen = decoding.step()
            made += 1
            going = []
            for place, (row, token) in enumerate(zip(rows, chosen, strict=True)):
                piece = ""
                finish: Finish | None = None
                ended = token in self.end_token_ids
                if not ended:
                    piece = texts[row].push(token)
                if ended or texts[row].stopped or made >= limits[row]:
                    piece += texts[row].finish()
                    finish = "stop" if ended or texts[row].stopped else "length"
                else:
                    going.append(place)
                yield row, piece, finish
            if len(going) < len(rows):
                rows = [rows[place] for place in going]
                if rows:
                    decoding.keep(going)

    def _decode(self, ids: list[int]) -> str:
        text: str = self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text


class _TooLongError(Exception):
    def __init__(self, tokens: int, context: int) -> None:
        super().__init__(f"the prompt has {tokens} tokens, the model's context is {context}")
        self.tokens = tokens


def _seed(seed: int, identity: str, prompt: list[int]) -> int:
    """The same for one request wherever it stands, another for each."""
    return int(sha256_text(f"{seed} {identity} {prompt}")[:15], 16)
