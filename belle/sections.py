"""Groups of keys that several verbs share. A verb's own keys stand in its command file."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from belle.config import Section

Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class ModelSection(Section):
    """A model to load."""

    path: str
    """What to load: `embedded:NAME`, a run folder, a folder in the Hugging Face layout, or a hub name."""
    revision: str | None = None
    """Branch, tag or commit of a hub name."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Type of the frozen weights and of the arithmetic; auto is bfloat16 where the machine computes in it, else float32."""
    template: str | None = None
    """chatml, belle, llama3, qwen, plain or the path of a .jinja file; absent means the checkpoint's own."""
    trust_remote_code: bool = False
    """Let a hub repository run its own Python code. Off unless you trust its authors."""
    keep_packed: bool = False
    """Leave a quantised model's weights packed in memory; else they are unpacked once, which takes more memory and is faster."""


class DataSection(Section):
    """Records to read."""

    path: str | tuple[str, ...]
    """Files, folders or `hf:NAME`; `shipped:FILE` names data that comes with belle."""
    format: str = "auto"
    """A row of the format table in docs/formats.md; auto detects it."""
    columns: dict[str, str] = {}
    """Names to map, new: old, such as {instruction: question, output: answer}."""
    on_error: Literal["stop", "keep"] = "stop"
    """stop at a malformed row, or keep it in dropped.jsonl with its reason and go on."""
    limit: Positive | None = None
    """Read only the first so many records."""


class TokensSection(Section):
    """How conversations become token ids."""

    cutoff: Positive = 1024
    """The longest sample, in tokens."""
    overlong: Literal["error", "drop", "cut_left_turns", "cut_right"] = "error"
    """What happens to a longer one: an error, dropped, its oldest turns cut, or its end cut. All are counted and listed."""
    train: Literal["all_turns", "last_turn"] = "all_turns"
    """Which assistant turns carry loss; a message's own `train` flag wins."""
    workers: Annotated[int, Field(ge=0)] = 0
    """Processes that tokenise; 0 is one for each core."""


class LoraSection(Section):
    """A low-rank adapter."""

    rank: Positive = 16
    """Rank of the update."""
    alpha: Annotated[float, Field(gt=0)] = 32.0
    """The update is scaled by alpha / rank."""
    dropout: Share = 0.0
    """Dropout before the update."""
    targets: str | tuple[str, ...] = "all-linear"
    """`all-linear` (the head excepted), or the last part of module names, such as [q_proj, v_proj]."""


class OptimSection(Section):
    """AdamW and how long it runs."""

    learning_rate: Annotated[float, Field(gt=0)] = 1e-4
    """Peak learning rate."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """How the learning rate falls after the warm-up."""
    warmup: Share = 0.03
    """Share of all steps in which it rises from 0."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Decoupled weight decay of AdamW."""
    betas: tuple[float, float] = (0.9, 0.999)
    """AdamW's decay rates of the first and second moment."""
    max_grad_norm: Annotated[float, Field(ge=0)] = 1.0
    """Gradients are scaled down to this norm; 0 leaves them."""
    epochs: Annotated[float, Field(gt=0)] = 1.0
    """Passes over the data."""
    max_steps: Positive | None = None
    """Stop after so many steps, whatever the epochs."""
    batch_size: Positive = 8
    """Conversations in one optimiser step, on all processes together."""
    micro_batch: Positive | None = None
    """Conversations in one forward pass; absent means the whole share of this process. Lower it when memory runs out."""


class GenerationSection(Section):
    """How answers are made."""

    max_new_tokens: Positive = 256
    """The longest answer."""
    temperature: Annotated[float, Field(ge=0)] = 0.0
    """0 takes the likeliest token; higher is freer."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Sample only from the smallest set of tokens with this probability."""
    top_k: Annotated[int, Field(ge=0)] = 0
    """Sample only from so many tokens; 0 is all."""
    repetition_penalty: Annotated[float, Field(gt=0)] = 1.0
    """Divides the score of tokens that were already used; 1 is off."""
    stop: tuple[str, ...] = ()
    """Texts that end the answer, beside the model's own end tokens."""
    seed: int = 0
    """Seed of the sampling."""


class HeldOutSection(Section):
    """Samples that training does not see and whose loss is watched."""

    path: str | None = None
    """A file of its own; absent means a share of the training data."""
    share: Share = 0.0
    """Share of the training data to hold out when there is no file."""
    every: Positive | None = None
    """Optimiser steps between two evaluations; absent means four in a run."""


class BackendSection(Section):
    """What writes texts: an endpoint that speaks OpenAI's protocol, or a model in this process."""

    model: str
    """The endpoint's name of the model; without base_url, what `model.path` may be, or for `fake` its script."""
    base_url: str | None = None
    """The endpoint, such as http://127.0.0.1:8000/v1; absent means a model in this process."""
    backend: str = "auto"
    """auto is openai where base_url is given, else transformers; or fake, or module:class."""
    key_variable: str = "OPENAI_API_KEY"
    """The environment variable that holds the endpoint's key; the key itself never stands in a recipe."""
    concurrency: Positive = 8
    """Requests under way at once; a model in this process answers so many as one batch."""
    requests_per_minute: Positive | None = None
    """Rate limit; absent means none."""
    timeout: Annotated[float, Field(gt=0)] = 120.0
    """Seconds until a request is given up and tried again."""
    retries: Annotated[int, Field(ge=0)] = 6
    """Tries after the first for a busy, failing or silent endpoint, each after a longer wait."""
    input_price: Annotated[float, Field(ge=0)] = 0.0
    """Price of a million prompt tokens, in the currency of budget.money."""
    output_price: Annotated[float, Field(ge=0)] = 0.0
    """Price of a million answer tokens."""
    template: str | None = None
    """For a model in this process: as `model.template`."""


class BudgetSection(Section):
    """What a run may spend; it stops in good order before the first limit is passed. Absent keys set no limit."""

    requests: Positive | None = None
    """Requests that are answered."""
    tokens: Positive | None = None
    """Tokens of prompts and answers together."""
    money: Annotated[float, Field(gt=0)] | None = None
    """By input_price and output_price."""
