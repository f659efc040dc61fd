"""How good a reward model finds a conversation: a sequence classifier with one output, through transformers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from belle import logs
from belle.curation.items import Score
from belle.curation.likelihood import Dtype
from belle.curation.texts import Curated
from belle.errors import BelleError
from belle.records import Document

if TYPE_CHECKING:
    from belle.data.chat_template import ChatTemplate


class RewardModel:
    """The number that a reward model gives a conversation; higher is better, the scale is the model's own."""

    alone = True

    def __init__(self, *, model: str, template: str | None = None, batch_size: int = 16, dtype: Dtype = "auto") -> None:
        """`model`: a folder or hub name of a sequence classifier with one label; `template`, `dtype`: as in `model:`."""
        self.path, self.template_name, self.batch_size, self.dtype = model, template, batch_size, dtype
        self._loaded: tuple[Any, ChatTemplate, int] | None = None

    def __call__(self, records: Sequence[Curated]) -> list[Score]:
        """[len(records)] rewards; nan for documents and what is longer than the model's context.

        Raises:
            BelleError: there is no such model, it has another head, or no template for it.
        """
        import torch

        model, template, context = self._load()
        pad = model.config.pad_token_id
        ids = {
            place: encoded
            for place, record in enumerate(records)
            if not isinstance(record, Document) and len(encoded := template.encode(record).ids) <= context
        }
        scores = [float("nan")] * len(records)
        order = sorted(ids, key=lambda place: -len(ids[place]))
        for start in range(0, len(order), self.batch_size):
            batch = order[start : start + self.batch_size]
            width = len(ids[batch[0]])
            rows = torch.tensor([ids[place] + [pad] * (width - len(ids[place])) for place in batch], device=model.device)
            # By length and not by id: the padding token may also stand in the text, as an end token does.
            lengths = torch.tensor([[len(ids[place])] for place in batch], device=model.device)
            on = torch.arange(width, device=model.device) < lengths
            with torch.inference_mode():
                rewards = _rewards(model, rows, on)
            for place, reward in zip(batch, rewards, strict=True):
                scores[place] = float(f"{reward:.6g}")
        if unscored := sum(score != score for score in scores):
            logs.warn(f"reward_model: {unscored} of {len(scores)} records are documents or longer than the context, not scored")
        return list(scores)

    def _load(self) -> tuple[Any, ChatTemplate, int]:
        if self._loaded is None:
            from transformers import AutoConfig, AutoModelForSequenceClassification

            from belle.data.chat_template import ChatTemplate
            from belle.models.load import device, load_tokenizer, locate, model_dtype
            from belle.sections import ModelSection

            section = ModelSection(path=self.path, template=self.template_name)
            tokenizer = load_tokenizer(section)
            template = ChatTemplate.load(tokenizer, self.template_name)
            base = locate(self.path).base
            config = AutoConfig.from_pretrained(base)
            names = config.architectures or []
            if not any(name.endswith("ForSequenceClassification") for name in names) or config.num_labels != 1:
                found = f"{', '.join(names) or 'no architecture'} with {config.num_labels} labels"
                raise BelleError(f"{self.path!r} is no reward model: {found}", "give a sequence classifier with one label")
            dtype = model_dtype(self.dtype)
            model = AutoModelForSequenceClassification.from_pretrained(base, use_safetensors=True, dtype=dtype)
            model = model.to(device()).eval()
            if model.config.pad_token_id is None:
                model.config.pad_token_id = tokenizer.pad_token_id
            context = getattr(config.get_text_config(), "max_position_embeddings", None) or 1 << 60
            self._loaded = model, template, context
        return self._loaded


def _rewards(model: Any, rows: Any, on: Any) -> list[float]:
    """[batch] the head's value at each row's last real token."""
    import torch

    if not hasattr(model, "score"):  # an encoder: its own pooling looks at the mask
        values: list[float] = model(input_ids=rows, attention_mask=on.long()).logits[:, 0].float().tolist()
        return values
    states = model.base_model(input_ids=rows, attention_mask=on.long()).last_hidden_state
    last = on.sum(-1) - 1
    picked = states[torch.arange(len(rows), device=rows.device), last]
    rewards: list[float] = model.score(picked)[:, 0].float().tolist()
    return rewards
