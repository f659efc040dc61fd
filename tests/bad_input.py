"""The table of bad input: name -> (how to arrange it, what the one error must say). Run by `test_bad_input.py`."""

from __future__ import annotations

import gzip
import json
import os
import shutil

import torch
from bad_world import (
    GOOD,
    Arrange,
    adapter_with,
    another_base,
    changed_input,
    halve,
    interrupted,
    messages,
    model_with,
    pickled,
    poison,
    recipe,
    rewrite,
    zeros,
)

TWINS = '{"id": "a", "question": "x", "reference": "y"}\n' * 2
MANY = json.dumps({"instruction": "x", "output": "long " * 300})
TOKENS = "{{ bos_token }}{% for m in messages %}<|xyz|>{{ m.content }}<|end|>{% endfor %}"
CASES: dict[str, tuple[Arrange, tuple[str, ...]]] = {
    # -- data files
    "data: missing": (lambda w: w.sft(data__path=w.home / "tlak.jsonl"), ("no file", "tlak.jsonl", "Did you mean 'talk.jsonl'?")),
    "data: empty": (lambda w: w.sft(data__path=w.file("a.jsonl", "")), ("a.jsonl: is empty",)),
    "data: only blank lines": (lambda w: w.sft(data__path=w.file("a.jsonl", "\n \n")), ("a.jsonl: is empty",)),
    "data: another kind of file": (
        lambda w: w.sft(data__path=w.file("a.docx", "x")),
        ("a.docx: files of this kind are not read",),
    ),
    "data: a folder without data": (lambda w: w.sft(data__path=w.home / "empty"), ("empty' holds no file that can be read",)),
    "data: shipped under another name": (
        lambda w: w.sft(data__path="shipped:evalution.jsonl"),
        ("Did you mean 'evaluation.jsonl'?",),
    ),
    "data: broken JSON": (lambda w: w.rows('{"instruction": "a"'), ("bad.jsonl:2: broken JSON",)),
    "data: a list in a line": (lambda w: w.rows("[1]"), ("bad.jsonl:2: a row is an object", "this is a list")),
    "data: a key twice": (
        lambda w: w.rows('{"instruction": "a", "instruction": "b"}'),
        ("bad.jsonl:2", "'instruction' is written twice"),
    ),
    "data: GB18030": (
        lambda w: w.sft(data__path=w.file("a.jsonl", GOOD.encode() + "数据\n".encode("gb18030"))),
        ("a.jsonl:2: not UTF-8",),
    ),
    "data: UTF-16": (lambda w: w.sft(data__path=w.file("a.jsonl", GOOD.encode("utf-16"))), ("a.jsonl:1: not UTF-8", "UTF-16")),
    "data: a torn gzip": (
        lambda w: w.sft(data__path=w.file("a.jsonl.gz", gzip.compress(os.urandom(9000).hex().encode())[:4000])),
        ("cannot read", "a.jsonl.gz"),
    ),
    "data: no gzip": (lambda w: w.sft(data__path=w.file("a.jsonl.gz", GOOD)), ("cannot read", "a.jsonl.gz")),
    "data: a ragged table": (
        lambda w: w.sft(data__path=w.file("a.csv", "instruction,output\na,b\nc,d,e\n")),
        ("a.csv:3: 3 fields, but the first line names 2 columns",),
    ),
    "data: a broken Parquet file": (
        lambda w: w.sft(data__path=w.file("a.parquet", "x")),
        ("a.parquet: not a sound Parquet file",),
    ),
    "data: an unknown role": (
        lambda w: w.rows(messages(("hunan", "x"))),
        ("bad.jsonl:2: turn 1: unknown role 'hunan'", "'human'?"),
    ),
    "data: an empty answer": (
        lambda w: w.rows(messages(("user", "x"), ("assistant", " "))),
        ("bad.jsonl:2: turn 2 (assistant) is empty",),
    ),
    "data: no text": (
        lambda w: w.rows(messages(("user", 3), ("assistant", "x"))),
        ("bad.jsonl:2: turn 1 (user) is a number, not text",),
    ),
    "data: half a character": (lambda w: w.rows(messages(("user", "\ud83d"))), ("bad.jsonl:2", "lone surrogate")),
    "data: unknown columns": (
        lambda w: w.sft(data__path=w.file("a.jsonl", '{"ask": "a", "reply": "b"}\n')),
        ("a.jsonl:1: no format fits this row", "'ask', 'reply'", "data.columns='{instruction: ask, output: reply}'"),
    ),
    "data: pictures": (
        lambda w: w.rows('{"instruction": "a", "output": "b", "images": ["x.png"]}'),
        ("bad.jsonl:2", "not supported yet"),
    ),
    "data: pairs where conversations are needed": (
        lambda w: w.sft(data__path=w.file("a.jsonl", '{"prompt": "a", "chosen": "b", "rejected": "c"}\n')),
        ("a.jsonl:1: this is a Preference", "where a Conversation is needed"),
    ),
    "data: a mapping of nothing": (lambda w: w.sft(data__columns="{output: anwser}"), ("data.columns names 'anwser'",)),
    "data: an unknown format": (
        lambda w: w.sft(data__format="alpacca"),
        ("unknown data.format 'alpacca'. Did you mean 'alpaca'?",),
    ),
    "data: a sample too long": (lambda w: w.rows(MANY, tokens__cutoff=200), ("bad.jsonl:2: too long", "tokens > cutoff 200")),
    "data: nothing left": (
        lambda w: w.sft(tokens__cutoff=3, tokens__overlong="cut_right"),
        ("no sample is left of 24 conversations",),
    ),
    "data: nothing to hold out": (lambda w: w.sft(held_out__share=0.001), ("held_out.share 0.001 of 24 samples leaves nothing",)),
    "data: held-out file missing": (lambda w: w.sft(held_out__path="held.jsonl"), ("no file 'held.jsonl'",)),
    "data: two questions of one id": (
        lambda w: [
            "evaluate",
            f"model.path={w.tuned}",
            f"output_dir={w.out}",
            "overwrite=true",
            f"data.path={w.file('q.jsonl', TWINS)}",
        ],
        ("q.jsonl:2: id 'a' is that of", "q.jsonl:1"),
    ),
    # -- mixtures
    "mix: a negative weight": (lambda w: w.mix(sources__mine__weight=-1), ("sources.mine", "should be greater than 0", "-1")),
    "mix: a source that is missing": (
        lambda w: w.mix(sources__other__path=w.home / "tlak.jsonl"),
        ("sources.other: no file", "Did you mean 'talk.jsonl'?", "check sources.other.path"),
    ),
    "mix: an empty source": (
        lambda w: w.mix(sources__other__path=w.file("a.jsonl", "")),
        ("sources.other: ", "a.jsonl: is empty"),
    ),
    "mix: a broken row in the middle": (
        lambda w: w.mix(sources__other__path=w.file("a.jsonl", GOOD + "{x\n")),
        ("sources.other: ", "a.jsonl:2: broken JSON"),
    ),
    "mix: nothing": (lambda w: w.mix(sources__mine__path=None, sources="{}"), ("sources is empty: there is nothing to mix",)),
    "mix: an unknown unit": (lambda w: w.mix(unit="words"), ("unit: should be 'records', 'characters' or 'tokens'", "'words'")),
    "mix: tokens of no tokenizer": (lambda w: w.mix(unit="tokens"), ("unit is 'tokens', and tokenizer is absent",)),
    "mix: an unknown key of a source": (
        lambda w: w.mix(sources__mine__wieght=2),
        ("sources.mine.wieght: unknown key. Did you mean 'sources.mine.weight'?",),
    ),
    "mix: two kinds of records": (
        lambda w: w.mix(sources__texts__path=w.file("a.jsonl", '{"text": "x"}\n')),
        ("different kinds (mine has Conversations, texts has Documents)", "sources.mine.template=plain"),
    ),
    "mix: an unknown template": (
        lambda w: w.mix(sources__mine__template="plian"),
        ("sources.mine: no chat template 'plian'. Did you mean 'plain'?",),
    ),
    "mix: less than one record": (lambda w: w.mix(sources__mine__epochs=0.001), ("sources.mine: epochs 0.001 of 24 records",)),
    # -- cleaning
    "clean: an unknown step": (lambda w: w.clean("emtpy"), ("steps", "emtpy: unknown step. Did you mean 'empty'?")),
    "clean: an unknown option": (
        lambda w: w.clean("{near_duplicates: {treshold: 0.8}}"),
        ("near_duplicates.treshold: unknown option. Did you mean 'threshold'?",),
    ),
    "clean: an option out of range": (
        lambda w: w.clean("{near_duplicates: {threshold: 7}}"),
        ("near_duplicates.threshold: should be less than or equal to 1", "7"),
    ),
    "clean: several mistakes": (
        lambda w: w.clean("emtpy", "{refusal: {question: false}}"),
        ("2 mistakes", "steps[0].emtpy", "steps[1].refusal.question: unknown option. Did you mean 'questions'?"),
    ),
    "clean: a score that no step made": (
        lambda w: w.clean("{top_share: {score: turns, share: 0.5}}"),
        ("top_share: needs the score 'turns' of a step before it",),
    ),
    "clean: a step of nobody": (lambda w: w.clean("nobody.here:step"), ("'nobody.here:step' cannot be imported",)),
    "clean: no steps": (lambda w: w.clean(steps=None), ("steps: required",)),
    "clean: an unknown executor": (lambda w: w.clean(executor="threads"), ("executor: should be", "'threads'")),
    "clean: data that is missing": (
        lambda w: w.clean(data__path=w.home / "tlak.jsonl"),
        ("no file", "Did you mean 'talk.jsonl'?"),
    ),
    "clean: a broken row in the middle": (
        lambda w: w.clean(data__path=w.file("a.jsonl", GOOD + "{x\n")),
        ("a.jsonl:2: broken JSON",),
    ),
    "clean: documents that are conversations": (
        lambda w: w.clean(records="documents"),
        ("talk.jsonl:1: ", "a Document is needed"),
    ),
    "clean: nothing but empty answers": (
        lambda w: w.clean(data__path=w.file("a.jsonl", '{"instruction": "x", "output": ""}\n')),
        ("no record left: all 1 rows are bad", "a.jsonl:1: output is empty"),
    ),
    "clean: a folder of another verb": (
        lambda w: w.clean(output_dir=w.tuned, overwrite="false"),
        ("tuned", "sft"),
    ),
    # -- recipes and words
    "recipe: missing": (lambda w: ["sft", "dmeo"], ("no recipe 'dmeo'. Did you mean 'demo'?",)),
    "recipe: an unknown key": (
        recipe("model: {path: x}\ntoken: {}\n"),
        ("r.yaml:2: token: unknown key. Did you mean 'tokens'?",),
    ),
    "recipe: a key twice": (recipe("seed: 1\nseed: 2\n"), ("r.yaml:2: seed: written twice, first at", "r.yaml:1")),
    "recipe: no number": (recipe("optim:\n  epochs: many\n"), ("r.yaml:2: optim.epochs: should be a valid number", "'many'")),
    "recipe: not finite": (
        recipe("optim: {learning_rate: .nan}\n"),
        ("r.yaml:1: optim.learning_rate: should be a finite number",),
    ),
    "recipe: out of range": (recipe("held_out: {share: 2}\n"), ("r.yaml:1: held_out.share: should be less than or equal to 1",)),
    "recipe: none of the choices": (
        recipe("optim: {schedule: cosin}\n"),
        ("r.yaml:1: optim.schedule: should be 'cosine', 'linear' or",),
    ),
    "recipe: a word for a section": (recipe("model: embedded:x\n"), ("r.yaml:1: model: is a section",)),
    "recipe: required keys missing": (
        recipe("model: {dtype: auto}\n"),
        ("r.yaml:1: model.path: required", "output_dir: required"),
    ),
    "recipe: no YAML": (recipe("model: {path: x\n"), ("r.yaml:2: not valid YAML",)),
    "recipe: tabs": (recipe("model:\n\tpath: x\n"), ("r.yaml:2: not valid YAML: found character '\\t'",)),
    "recipe: a list": (recipe("- model\n"), ("r.yaml:1: a recipe is a mapping of keys, this is a list",)),
    "recipe: not UTF-8": (recipe("model: {path: 模型}\n".encode("gb18030")), ("r.yaml: not UTF-8 text",)),
    "recipe: an alias in itself": (recipe("model: &a\n  path: *a\n"), ("r.yaml: nested too deeply",)),
    "words: an unknown verb": (lambda w: ["stf"], ("unknown verb 'stf'. Did you mean 'sft'?",)),
    "words: an unknown option": (lambda w: ["sft", "--epochs", "3"], ("unknown option '--epochs'",)),
    "words: two recipes": (lambda w: ["sft", "demo", str(w.file("r.yaml", "seed: 1\n"))], ("two recipes: ", "r.yaml")),
    "words: an unknown key": (
        lambda w: w.sft(optim__learning_rat=1),
        ("command line: optim.learning_rat: unknown key. Did you mean",),
    ),
    "words: a layer that is none": (
        lambda w: w.sft(lora__targets="[q_pro]"),
        ("lora.targets: no linear layer 'q_pro'", "'q_proj'?"),
    ),
    "words: no training in float16": (
        lambda w: w.sft(model__dtype="float16"),
        ("float16", "set model.dtype to bfloat16 or float32"),
    ),
    "words: an unknown backend": (lambda w: w.infer(backend="vlm"), ("unknown backend 'vlm'",)),
    "words: a report of nothing": (lambda w: ["report", str(w.home / "nothing")], ("nothing' is no folder",)),
    # -- checkpoints
    "model: missing": (lambda w: w.sft(model__path=w.home / "moddel"), ("no model at", "moddel")),
    "model: not embedded": (
        lambda w: w.sft(model__path="embedded:smollm2"),
        ("no embedded model 'smollm2'. Did you mean 'smollm2-135m",),
    ),
    "model: an empty folder": (lambda w: w.sft(model__path=w.home / "empty"), ("empty' holds no model: no config.json",)),
    "model: no config": (model_with(lambda w: (w.model / "config.json").unlink()), ("model' holds no model: no config.json",)),
    "model: a broken config": (
        model_with(lambda w: halve(w.model / "config.json")),
        ("cannot load the", "model'", "config.json"),
    ),
    "model: an unknown architecture": (
        model_with(lambda w: rewrite(w.model / "config.json", model_type="lama", architectures=["LamaForCausalLM"])),
        ("cannot load the", "model'", "lama"),
    ),
    "model: torn weights": (model_with(lambda w: halve(w.model / "model.safetensors")), ("cannot load the model of", "model'")),
    "model: empty weights": (
        model_with(lambda w: (w.model / "model.safetensors").write_bytes(b"")),
        ("cannot load the model of",),
    ),
    "model: no weights": (
        model_with(lambda w: (w.model / "model.safetensors").unlink()),
        ("cannot load the model of", "model.safetensors"),
    ),
    "model: pickled weights alone": (model_with(pickled), ("cannot load the model of", "model.safetensors")),
    "model: a tensor missing": (
        model_with(lambda w: w.weights(w.model / "model.safetensors", lambda t: t.pop("model.layers.1.mlp.up_proj.weight"))),
        ("cannot load the model of", "model.layers.1.mlp.up_proj.weight"),
    ),
    "model: a tensor of another shape": (
        model_with(lambda w: w.weights(w.model / "model.safetensors", lambda t: t.update({"model.norm.weight": torch.ones(7)}))),
        ("cannot load the model of", "model.norm.weight"),
    ),
    "model: no tokenizer": (
        model_with(lambda w: [path.unlink() for path in w.model.glob("tokenizer*")]),
        ("cannot load the tokenizer of", "model'"),
    ),
    "model: a broken tokenizer": (
        model_with(lambda w: halve(w.model / "tokenizer.json")),
        ("cannot load the tokenizer of", "model'"),
    ),
    "model: a run that is not finished": (
        lambda w: (interrupted(w), w.infer())[1],
        ("tuned' has not finished", "run it to its end first: belle sft"),
    ),
    "model: a run that made no model": (
        lambda w: w.infer(model__path=w.out, output_dir=w.home / "new"),
        ("out' (infer) made no model",),
    ),
    "model: a broken run.json": (lambda w: (halve(w.tuned / "run.json"), w.infer())[1], ("cannot read", "run.json")),
    "model: a chat with nothing": (lambda w: ["chat", str(w.home / "nothing")], ("no model at", "nothing")),
    "model: NaN in its weights": (
        model_with(lambda w: w.weights(w.model / "model.safetensors", poison("layers.1.mlp.up_proj")), output_dir="NEW"),
        ("the loss became nan in step 1", "layers.1.mlp.up_proj"),
    ),
    # -- diffs
    "diff: of nothing": (lambda w: w.diff(source=w.home / "modle"), ("source: nothing at", "Did you mean 'model'?")),
    "diff: a base without weights": (lambda w: w.diff(base=w.home / "empty"), ("empty' holds no safetensors file",)),
    "diff: no diff at all": (lambda w: w.diff("apply"), ("model' is no diff: it holds neither belle-diff.json nor a .enc file",)),
    "diff: an empty key": (lambda w: w.diff(base=w.file("k.pth", ""), form="xor"), ("k.pth' is empty",)),
    "diff: torn weights": (
        lambda w: (halve(w.model / "model.safetensors"), w.diff())[1],
        ("model.safetensors is truncated: its tensors take",),
    ),
    "diff: a name that leads elsewhere": (
        lambda w: w.diff("apply", source=w.file("run.json." + "0" * 64 + ".enc", bytes(32))),
        ("the name 'run.json' is not taken",),
    ),
    "diff: into its own source": (lambda w: w.diff(output_dir=w.model / "diff"), ("lies in", "choose a folder of its own")),
    # -- templates
    "template: none": (
        model_with(lambda w: (w.model / "chat_template.jinja").unlink()),
        ("no chat template", "set model.template: "),
    ),
    "template: unknown": (lambda w: w.sft(model__template="chatlm"), ("no chat template 'chatlm'. Did you mean 'chatml'?",)),
    "template: tokens that are none": (
        lambda w: w.sft(model__template=w.file("t.jinja", TOKENS)),
        ("t.jinja' writes <|end|>, <|xyz|>, which this tokenizer",),
    ),
    "template: no jinja": (lambda w: w.sft(model__template=w.file("t.jinja", "a\n{% if %}")), ("t.jinja', line 2",)),
    "template: an inexact mask": (
        lambda w: w.sft(model__template=w.file("t.jinja", "{% for m in messages %}{{ m.content | upper }}</s>{% endfor %}")),
        ("t.jinja' gives no exact loss mask",),
    ),
    # -- adapters
    "adapter: nothing to merge": (lambda w: w.merge(model__path=w.model), ("model' has no adapter to merge",)),
    "adapter: of another base": (another_base, ("adapter' does not belong to the base", "sha256")),
    "adapter: no weights": (
        adapter_with(lambda w: (w.adapter / "adapter_model.safetensors").unlink()),
        ("tuned/adapter' has no adapter_model.safetensors",),
    ),
    "adapter: empty weights": (
        adapter_with(lambda w: (w.adapter / "adapter_model.safetensors").write_bytes(b"")),
        ("cannot load the adapter of", "tuned/adapter"),
    ),
    "adapter: torn weights": (
        adapter_with(lambda w: halve(w.adapter / "adapter_model.safetensors"), "infer"),
        ("cannot load the adapter of", "tuned/adapter"),
    ),
    "adapter: half of its tensors": (
        adapter_with(
            lambda w: w.weights(w.adapter / "adapter_model.safetensors", lambda t: [t.pop(k) for k in list(t) if "layers.1" in k])
        ),
        ("cannot load the adapter of", "tuned/adapter", "layers.1"),
    ),
    "adapter: tensors of nobody": (
        adapter_with(lambda w: w.weights(w.adapter / "adapter_model.safetensors", lambda t: t.update(stray=torch.ones(1)))),
        ("tensors have no place in the model", "tuned/adapter", "stray"),
    ),
    "adapter: another rank": (
        adapter_with(lambda w: rewrite(w.adapter / "adapter_config.json", r=3)),
        ("cannot load the adapter of", "tuned/adapter", "size mismatch"),
    ),
    "adapter: a broken config": (
        adapter_with(lambda w: halve(w.adapter / "adapter_config.json")),
        ("adapter_config.json",),
    ),
    "adapter: a base that is gone": (
        lambda w: (shutil.rmtree(w.model), w.infer())[1],
        ("no model at", "model'"),
    ),
    "adapter: a folder that names no base": (
        lambda w: (rewrite(w.adapter / "adapter_config.json", base_model_name_or_path=None), w.infer(model__path=w.adapter))[1],
        ("adapter_config.json", "base_model_name_or_path"),
    ),
    "adapter: trained nothing": (
        adapter_with(lambda w: w.weights(w.adapter / "adapter_model.safetensors", zeros("lora_B"))),
        ("changed no weight", "tuned/adapter"),
    ),
    "adapter: NaN in its weights": (
        adapter_with(lambda w: w.weights(w.adapter / "adapter_model.safetensors", poison("lora_B"))),
        ("cannot be merged", "tuned/adapter"),
    ),
    "adapter: training on it": (lambda w: w.sft(model__path=w.tuned), ("tuned' is an adapter", "belle merge model.path=")),
    # -- output folders
    "output: of another recipe": (
        lambda w: w.infer(overwrite="false"),
        ("out' holds a run of another recipe: ", "model.path was"),
    ),
    "output: of another verb": (lambda w: w.sft(overwrite="false"), ("out' holds a run of 'infer', not of 'sft'",)),
    "output: somebody's files": (
        lambda w: (w.file("thesis/chapter.tex", "x"), w.sft(output_dir=w.home / "thesis"))[1],
        ("holds other files (chapter.tex)",),
    ),
    "output: a file": (lambda w: w.sft(output_dir=w.data), ("cannot write into output_dir", "talk.jsonl")),
    "output: a broken run.json": (
        lambda w: (halve(w.out / "run.json"), w.infer(overwrite="false"))[1],
        ("cannot read", "out/run.json"),
    ),
    "output: inputs that changed": (changed_input, ("talk.jsonl has changed since this run began",)),
}
