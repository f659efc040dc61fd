"""The mean loss of a token under a causal language model, of conversations and of plain texts; the model comes at first use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from belle.errors import BelleError
from belle.records import Conversation, Document

if TYPE_CHECKING:
    from belle.inference.transformers_backend import TransformersBackend

Dtype = Literal["auto", "float32", "bfloat16", "float16"]


class Likelihood:
    """A model behind `TransformersBackend.score`, which batches by length.

    Args:
        model: what `model.path` may be.
        template: as `model.template`.
        batch_size: texts in one forward pass.
        dtype: as `model.dtype`.
    """

    def __init__(self, model: str, template: str | None = None, batch_size: int = 16, dtype: Dtype = "auto") -> None:
        self.model, self.template, self.batch_size, self.dtype = model, template, batch_size, dtype
        self._loaded: tuple[Any, Any] | None = None
        self._backend: TransformersBackend | None = None

    def conversations(self, conversations: Sequence[Conversation]) -> list[float]:
        """[n] nats a supervised token; nan without one, or where a conversation is longer than the context.

        Raises:
            BelleError: there is no such model, or the template cannot write a conversation exactly.
        """
        if not conversations:
            return []
        backend = self._open()
        fits = []
        for place, conversation in enumerate(conversations):
            encoded = backend.template.encode(conversation)
            if any(encoded.mask) and not (backend.context and len(encoded.ids) > backend.context):
                fits.append(place)
        losses = [float("nan")] * len(conversations)
        for place, score in zip(fits, backend.score([conversations[place] for place in fits]), strict=True):
            losses[place] = score.loss_sum / score.tokens
        return losses

    def documents(self, documents: Sequence[Document]) -> list[float]:
        """[n] nats a token, of the text by itself, behind the model's start token where it has one; nan as above."""
        if not documents:
            return []
        from belle.data.chat_template import Encoded
        from belle.inference.scoring import losses

        model, tokenizer = self._load()
        config = model.config.get_text_config()
        context = getattr(config, "max_position_embeddings", None) or 1 << 60
        start = [tokenizer.bos_token_id] if tokenizer.bos_token_id is not None else []
        samples: dict[int, Encoded] = {}
        for place, document in enumerate(documents):
            ids = start + tokenizer(document.text, add_special_tokens=False, verbose=False)["input_ids"]
            if 2 <= len(ids) <= context:
                samples[place] = Encoded(ids, [False] + [True] * (len(ids) - 1))
        result = [float("nan")] * len(documents)
        order = sorted(samples, key=lambda place: -len(samples[place].ids))
        for begin in range(0, len(order), self.batch_size):
            batch = order[begin : begin + self.batch_size]
            for place, (loss, tokens) in zip(batch, losses(model, [samples[place] for place in batch]), strict=True):
                result[place] = loss / tokens
        return result

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            from belle.models.load import load_model, load_tokenizer
            from belle.sections import ModelSection

            section = ModelSection(path=self.model, template=self.template, dtype=self.dtype)
            self._loaded = load_model(section), load_tokenizer(section)
        return self._loaded

    def _open(self) -> TransformersBackend:
        if self._backend is None:
            from belle.data.chat_template import ChatTemplate
            from belle.inference.transformers_backend import TransformersBackend
            from belle.models.load import load_tokenizer
            from belle.sections import ModelSection

            # The template first: a mistake there shows before the weights are read.
            try:
                template = ChatTemplate.load(load_tokenizer(ModelSection(path=self.model)), self.template)
            except BelleError as error:
                raise BelleError(error.message, error.fix.replace("model.template", "the step's option `template`")) from error
            model, tokenizer = self._load()
            self._backend = TransformersBackend(model, tokenizer, template, self.batch_size)
        return self._backend
