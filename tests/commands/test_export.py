from __future__ import annotations

import json
from pathlib import Path

import pytest
from sound_model import main
from tiny import tiny_model_folder

from belle.jsonl import read_json


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model_folder(tmp_path_factory.mktemp("export") / "tiny", template="belle")


def test_files_and_a_modelfile_stand_beside_the_model(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "gguf", str(model), "type=[f16, Q8_0]", "check=nothing"]) == 0
    folder = model.with_name("tiny-gguf")
    info = read_json(folder / "run.json")
    assert info["products"] == {"F16": "tiny-F16.gguf", "Q8_0": "tiny-Q8_0.gguf", "modelfile": "Modelfile"}
    assert all((folder / name).is_file() for name in info["products"].values())
    text = (folder / "Modelfile").read_text(encoding="utf-8")
    assert text.startswith("FROM ./tiny-F16.gguf\n")
    assert 'PARAMETER stop "</s>"' in text
    assert "ollama create" in capsys.readouterr().err
    assert main(["export", "gguf", str(model), "type=[f16, Q8_0]", "check=nothing"]) == 0
    assert "already finished" in capsys.readouterr().err


def test_templates_lose_their_training_marks_and_the_ends_are_inside(model: Path, tmp_path: Path) -> None:
    import gguf

    generation = json.loads((model / "generation_config.json").read_text())
    assert generation["eos_token_id"] == 3
    (model / "generation_config.json").write_text(json.dumps(generation | {"eos_token_id": [3, 5, 8]}))
    assert main(["export", "gguf", str(model), "type=F32", "check=nothing", f"output_dir={tmp_path / 'o'}"]) == 0
    fields = {name: field.contents() for name, field in gguf.GGUFReader(tmp_path / "o/tiny-F32.gguf").fields.items()}
    assert "generation" not in fields["tokenizer.chat_template"].replace("add_generation_prompt", "")
    assert [fields[f"tokenizer.ggml.{end}_token_id"] for end in ("eos", "eot", "eom")] == [3, 5, 8]


def test_llama_cpp_loads_it_and_talks_with_the_same_template(model: Path, tmp_path: Path) -> None:
    llama_cpp = pytest.importorskip("llama_cpp")
    from belle.data.chat_template import ChatTemplate
    from belle.models.load import load_tokenizer
    from belle.records import Message
    from belle.sections import ModelSection

    assert main(["export", "gguf", str(model), "type=[F16, Q4_0]", f"output_dir={tmp_path / 'o'}", "name=小模型"]) == 0
    facts = read_json(tmp_path / "o/run.json")["metrics"]["files"]
    assert facts["F16"]["same_tokens"] == 2000
    assert facts["F16"]["same_next_token"] == facts["F16"]["prompts"] == 8
    assert facts["F16"]["max_logit_difference"] < 0.05
    llm = llama_cpp.Llama(str(tmp_path / "o/小模型-F16.gguf"), n_ctx=256, verbose=False)
    talk = [{"role": "system", "content": "短"}, {"role": "user", "content": "你好"}, {"role": "assistant", "content": "好"},
            {"role": "user", "content": "再见"}]  # fmt: skip
    formatter = llama_cpp.llama_chat_format.Jinja2ChatFormatter(
        llm.metadata["tokenizer.chat_template"], eos_token="</s>", bos_token="<s>"
    )
    prompt = formatter(messages=talk).prompt
    ids = llm.tokenize(prompt.encode(), add_bos=False, special=True)
    llm.close()
    template = ChatTemplate.load(load_tokenizer(ModelSection(path=str(model))))
    assert ids == template.prompt([Message(m["role"], m["content"]) for m in talk])  # type: ignore[arg-type]


@pytest.mark.slow
def test_llama_cpp_writes_what_transformers_writes(tmp_path: Path) -> None:
    """Greedy text of the real base model for 20 prompts: F16 in llama.cpp, the same rounded weights in transformers."""
    llama_cpp = pytest.importorskip("llama_cpp")
    import torch

    from belle.data.chat_template import ChatTemplate
    from belle.data.formats import load_records
    from belle.models.load import load_model, load_tokenizer
    from belle.sections import DataSection, ModelSection

    section = ModelSection(path="embedded:smollm2-135m-instruct", dtype="float32")
    words = ["export", "gguf", section.path, "type=F16", "check=tokens", f"output_dir={tmp_path}", "name=base"]
    assert main(words) == 0
    model = load_model(section, torch.float32).eval()
    for parameter in model.parameters():
        if parameter.ndim > 1:  # vectors stay F32 in the file
            parameter.data = parameter.data.half().float()
    template = ChatTemplate.load(load_tokenizer(section))
    llm = llama_cpp.Llama(str(tmp_path / "base-F16.gguf"), n_ctx=1024, verbose=False)
    records = load_records(DataSection(path="shipped:evaluation.jsonl")).records
    for record in records[:: len(records) // 20][:20]:
        ids = template.prompt([message for message in record.messages if message.role != "assistant"])
        with torch.no_grad():
            whole = model.generate(
                torch.tensor([ids]), max_new_tokens=32, do_sample=False, eos_token_id=list(template.end_token_ids)
            )
        llm.reset()
        said: list[int] = []
        for token in llm.generate(ids, temp=0, top_k=1, repeat_penalty=1.0):
            said.append(token)
            if token in template.end_token_ids or len(said) == 32:
                break
        assert said == whole[0][len(ids) :].tolist(), record.messages[0].content
    llm.close()


@pytest.mark.parametrize(("words", "message"), [
    (["type=Q5"], "no GGUF type 'Q5'"),
    (["type=[]"], "type is empty"),
    (["type=IQ2_XXS"], "IQ2_XXS keeps so few bits"),
    (["type=F16", "adapter=true"], "is a whole model, not an adapter"),
    (["form=onnx"], "form: should be 'gguf'"),
])  # fmt: skip
def test_what_cannot_be_made_is_one_error(
    model: Path, tmp_path: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", "gguf", str(model), f"output_dir={tmp_path / 'o'}", *words]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.gguf"))


def test_without_a_folder_beside_it_output_dir_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "gguf", "owner/name", "type=F16"]) == 2
    assert "'owner/name' is no folder to write beside" in capsys.readouterr().err


def test_an_unsound_model_is_refused_before_anything_is_written(
    sound: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generation = sound / "merged/generation_config.json"
    generation.write_text(json.dumps(json.loads(generation.read_text()) | {"eos_token_id": 3}))
    words = ["export", "gguf", str(sound / "merged"), "type=F16", "check=nothing", f"output_dir={tmp_path / 'o'}"]
    assert main(words) == 2
    told = capsys.readouterr().err
    assert "must not leave as it is; special ids: the tokenizer's end is '<|im_end|>'" in told
    assert "verify=false goes on all the same" in told
    assert not [path for path in (tmp_path / "o").iterdir() if path.name != ".lock"]
    assert main([*words, "verify=false"]) == 0
    assert "whatever is wrong with it goes along" in capsys.readouterr().err
    assert read_json(tmp_path / "o/run.json")["notes"]["verify"] == {"checked": False, "reason": "verify=false"}


def test_what_was_verified_is_noted(sound_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["export", "gguf", str(sound_home / "sft"), "adapter=true", f"output_dir={tmp_path / 'o'}"]
    assert main(words) == 0
    assert "`type` does nothing" not in capsys.readouterr().err
    noted = read_json(tmp_path / "o/run.json")["notes"]["verify"]
    assert noted["checked"] is True
    assert {"tensors", "template", "change", "lineage"} <= set(noted["checks"])


def test_a_type_that_an_adapter_has_no_use_for_is_said(
    sound_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["export", "gguf", str(sound_home / "sft"), "adapter=true", "type=F16", f"output_dir={tmp_path / 'o'}"]
    assert main(words) == 0
    assert "`type` does nothing with adapter=true" in capsys.readouterr().err
