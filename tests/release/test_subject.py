from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from sound_model import change_json, main
from tiny import tiny_model_folder

from belle.errors import BelleError
from belle.jsonl import write_rows
from belle.release.subject import Subject, chain_of, trained_by, training_template
from belle.sections import ModelSection


def opened(path: Path, base: Path | None = None) -> Subject:
    return Subject.open(ModelSection(path=str(path)), str(base) if base else None)


def test_what_leaves_is_the_model_or_the_adapter(sound_home: Path) -> None:
    merged, sft, base = (opened(sound_home / name) for name in ("merged", "sft", "base"))
    assert (merged.folder, merged.whole, merged.base) == (sound_home / "merged", True, sound_home / "base")
    assert (sft.folder, sft.whole, sft.base) == (sound_home / "sft/adapter", False, sound_home / "base")
    assert (base.folder, base.base, base.chain) == (sound_home / "base", None, [])
    assert opened(sound_home / "base", sound_home / "merged").base == sound_home / "merged"
    assert [run.verb for run in merged.chain] == ["sft", "merge"]
    assert merged.trained_by() == merged.chain[0]
    assert len(sft.weights) == 28
    assert len(sft.model_weights) == len(merged.weights) == 21


def test_ends_are_those_of_generation_and_else_of_the_model(sound: Path) -> None:
    assert opened(sound / "merged").ends == [5]
    change_json(sound / "merged/generation_config.json", eos_token_id=[5, 3])
    assert opened(sound / "merged").ends == [5, 3]
    (sound / "merged/generation_config.json").unlink()
    change_json(sound / "merged/config.json", eos_token_id=7)
    assert opened(sound / "merged").ends == [7]
    change_json(sound / "merged/config.json", eos_token_id=None)
    assert opened(sound / "merged").ends == []


def test_embedding_and_head_are_found_by_what_they_are(sound_home: Path, tmp_path: Path) -> None:
    merged = opened(sound_home / "merged")
    assert (merged.embedding, merged.head) == ("model.embed_tokens.weight", "lm_head.weight")
    tied = opened(tiny_model_folder(tmp_path / "tied"))
    assert (tied.embedding, tied.head) == ("model.embed_tokens.weight", "model.embed_tokens.weight")


def test_names_without_the_inner_models_prefix_are_known(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file
    from tiny import build_tokenizer
    from transformers import BloomConfig, BloomForCausalLM

    tokenizer = build_tokenizer()
    model = BloomForCausalLM(BloomConfig(vocab_size=len(tokenizer), hidden_size=16, n_layer=1, n_head=2))
    model.config.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    state = {name.removeprefix("transformer."): tensor.clone() for name, tensor in model.state_dict().items()}
    save_file({name: tensor for name, tensor in state.items() if name != "lm_head.weight"}, tmp_path / "model.safetensors")
    subject = opened(tmp_path)
    assert (subject.embedding, subject.head) == ("word_embeddings.weight", "word_embeddings.weight")
    assert torch.equal(torch.from_numpy(subject.weights.values(subject.embedding).copy()), state["word_embeddings.weight"])


def test_the_chain_follows_data_to_the_run_that_made_it(sound_home: Path, tmp_path: Path) -> None:
    (tmp_path / "raw.jsonl").write_text((sound_home / "data.jsonl").read_text(encoding="utf-8"), encoding="utf-8")
    assert main(["mix", f"sources.a.path={tmp_path / 'raw.jsonl'}", f"output_dir={tmp_path / 'mix'}"]) == 0
    words = [f"model.path={sound_home / 'base'}", f"data.path={tmp_path / 'mix/mixed.jsonl'}", "lora.rank=2", "optim.max_steps=1"]
    assert main(["sft", *words, f"output_dir={tmp_path / 'sft'}"]) == 0
    chain = chain_of(tmp_path / "sft")
    assert sorted(run.verb for run in chain) == ["mix", "sft"]
    assert trained_by(chain) is not None
    assert trained_by([run for run in chain if run.verb == "mix"]) is None
    assert chain_of(None) == []


def test_a_foreign_run_json_beside_data_is_no_run(sound_home: Path, tmp_path: Path) -> None:
    write_rows(tmp_path / "data/run.json", [{"id": "theirs"}])
    shutil.copyfile(sound_home / "data.jsonl", tmp_path / "data/talk.jsonl")
    words = [f"model.path={sound_home / 'base'}", f"data.path={tmp_path / 'data/talk.jsonl'}", "lora.rank=2", "optim.max_steps=1"]
    assert main(["sft", *words, f"output_dir={tmp_path / 'sft'}"]) == 0
    assert [run.verb for run in chain_of(tmp_path / "sft")] == ["sft"]


def test_training_without_its_product_is_said(sound: Path) -> None:
    subject = opened(sound / "merged")
    run = subject.trained_by()
    assert run is not None
    assert training_template(run).jinja == subject.template.jinja
    shutil.rmtree(sound / "sft/adapter")
    with pytest.raises(BelleError, match="has no product with a tokenizer any more"):
        training_template(run)


def test_a_config_of_no_model_is_an_error_of_its_own(sound: Path) -> None:
    change_json(sound / "merged/config.json", model_type="no-such-model")
    with pytest.raises(BelleError, match="no model can be built from"):
        _ = opened(sound / "merged").skeleton
    (sound / "merged/config.json").write_text("[1]")
    with pytest.raises(BelleError, match="is no JSON object"):
        _ = opened(sound / "merged").config
