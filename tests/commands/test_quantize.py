"""`belle quantize` through the command line: what it writes is read by a reader of its own, whatever happens meanwhile."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from sound_model import main
from tiny import build_tokenizer, talk_file, tiny_llama, tiny_model_folder

from belle.data.chat_template import ChatTemplate
from belle.data.formats import load_records
from belle.jsonl import read_json, read_rows
from belle.models import packed_linear
from belle.models.load import load_model
from belle.quantization.calibration import windows
from belle.sections import DataSection, ModelSection


def sound(folder: Path, **shape: Any) -> Path:
    """A tiny model that may leave the house: it ends where its template ends."""
    tiny_model_folder(folder, **shape)
    path = folder / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"eos_token_id": [3, 5]}))
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sound(tmp_path_factory.mktemp("quantize") / "tiny", tied=True)


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return talk_file(tmp_path_factory.mktemp("talk") / "talk.jsonl", 60)


def words(model: Path, talk: Path, out: Path, *more: str) -> list[str]:
    calibration = [f"calibration.path={talk}", "samples=6", "length=64"]
    return ["quantize", str(model), f"output_dir={out}", "group_size=16", *calibration, *more]


def read_by_hand(folder: Path, name: str, bits: int) -> torch.Tensor:
    """[out, in]: bit by bit, from the published layout alone."""
    tensors = load_file(folder / "model.safetensors")
    qweight, qzeros, scales, g_idx = (tensors[f"{name}.{part}"] for part in ("qweight", "qzeros", "scales", "g_idx"))

    def values(words: list[int]) -> list[int]:
        stream = sum((word & 0xFFFFFFFF) << (32 * i) for i, word in enumerate(words))
        return [(stream >> (i * bits)) & ((1 << bits) - 1) for i in range(len(words) * 32 // bits)]

    codes = [values(column) for column in qweight.t().tolist()]
    zeros = [values(row) for row in qzeros.tolist()]
    rows = [
        [float(scales[g, o]) * (codes[o][i] - zeros[g][o] - 1) for i, g in enumerate(g_idx.tolist())] for o in range(len(codes))
    ]
    return torch.tensor(rows)


@pytest.mark.parametrize(("bits", "more"), [
    (4, ["act_order=true", "static_groups=false"]), (8, ["act_order=false"]), (2, ["symmetric=false"]), (4, ["method=rtn"]),
    (4, ["method=awq"]), (4, ["true_sequential=false", "search=false", "group_size=-1"]),
])  # fmt: skip
def test_what_is_written_is_what_belle_loads(model: Path, talk: Path, tmp_path: Path, bits: int, more: list[str]) -> None:
    out = tmp_path / "o"
    assert main(words(model, talk, out, f"bits={bits}", *more)) == 0
    loaded = load_model(ModelSection(path=str(out)), torch.float32)
    for name in ("model.layers.0.self_attn.k_proj", "model.layers.1.mlp.down_proj"):
        assert torch.allclose(loaded.get_submodule(name).weight, read_by_hand(out / "model", name, bits), rtol=1e-6, atol=1e-9)
    stored, original = load_file(out / "model" / "model.safetensors"), load_file(model / "model.safetensors")
    assert "lm_head.weight" not in stored
    assert torch.equal(stored["model.embed_tokens.weight"], original["model.embed_tokens.weight"].bfloat16()), "untouched"
    assert loaded.lm_head.weight is loaded.model.embed_tokens.weight
    said = read_json(out / "model" / "config.json")["quantization_config"]
    assert said == read_json(out / "model" / "quantize_config.json")
    assert (said["quant_method"], said["bits"], said["checkpoint_format"]) == ("gptq", bits, "gptq")
    assert said["desc_act"] == ("static_groups=false" in more)
    info = read_json(out / "run.json")
    assert info["metrics"]["layers"] == 14
    assert info["products"] == {"model": "model"}
    assert [i["role"] for i in info["inputs"]] == (["base"] if "method=rtn" in more else ["base", "calibration"])
    assert not (out / "blocks").exists()


def test_the_model_stays_close_and_gptq_is_better_than_rounding(model: Path, talk: Path, tmp_path: Path) -> None:
    records = load_records(DataSection(path=str(talk))).records
    template = ChatTemplate.load(build_tokenizer(), "chatml")
    ids = windows(records, build_tokenizer(), template, 12, 64, seed=7)
    with torch.no_grad():
        wanted = load_model(ModelSection(path=str(model)), torch.float32)(ids).logits
    away = {}
    for name, more in {"eight": ["bits=8"], "gptq": ["bits=4"], "rtn": ["bits=4", "method=rtn", "search=false"]}.items():
        assert main(words(model, talk, tmp_path / name, *more)) == 0
        with torch.no_grad():
            got = load_model(ModelSection(path=str(tmp_path / name)), torch.float32)(ids).logits
        away[name] = float((got - wanted).norm() / wanted.norm())
        rows = [row for row in read_rows(tmp_path / name / "metrics.jsonl") if "error" in row]
        assert all(row["error"] <= row["nearest"] for row in rows)
    assert 2 * away["eight"] < away["gptq"] < away["rtn"]
    assert away["eight"] < 0.05, "random weights amplify what a trained model's do not"


def test_packed_weights_may_stay_packed(model: Path, talk: Path, tmp_path: Path) -> None:
    assert main(words(model, talk, tmp_path / "o", "bits=4")) == 0
    ids = torch.randint(10, 400, (2, 16))
    unpacked = load_model(ModelSection(path=str(tmp_path / "o")), torch.float32)
    packed = load_model(ModelSection(path=str(tmp_path / "o"), keep_packed=True), torch.float32)
    assert sum(p.numel() for p in packed.model.layers.parameters()) < 200, "only norms are left"
    with torch.no_grad():
        assert torch.allclose(packed(ids).logits, unpacked(ids).logits, atol=1e-4)
    assert main(words(model, talk, tmp_path / "k", "bits=4", "group_size=32")) == 0
    unpacked = load_model(ModelSection(path=str(tmp_path / "k")), torch.bfloat16)
    packed = load_model(ModelSection(path=str(tmp_path / "k"), keep_packed=True), torch.bfloat16)
    if packed_linear.has_kernel():
        assert packed.model.layers[0].mlp.up_proj.group_size == 32
    with torch.no_grad():
        wanted, got = unpacked(ids).logits.float(), packed(ids).logits.float()
    assert float((got - wanted).norm() / wanted.norm()) < 0.03


def test_layers_that_do_not_fit_or_are_kept_stay_and_are_named(
    model: Path, talk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(model, talk, tmp_path / "o", "bits=3", "symmetric=false", "keep=['layers[.]0[.].*up_proj']")) == 0
    metrics = read_json(tmp_path / "o" / "run.json")["metrics"]
    reasons = metrics["left_wide"]
    assert reasons["model.layers.0.mlp.up_proj"] == "named in keep"
    # 48 inner units, and keys and values of 16: neither fills whole words of 3 bits.
    assert {name.rsplit(".", 1)[-1] for name in reasons} == {"up_proj", "gate_proj", "down_proj", "k_proj", "v_proj"}
    assert metrics["layers"] == 14 - len(reasons) == 4
    assert "stays as it is" in capsys.readouterr().err
    dynamic = read_json(tmp_path / "o/model/config.json")["quantization_config"]["dynamic"]
    assert r"-:^model\.layers\.0\.mlp\.up_proj$" in dynamic
    loaded = load_model(ModelSection(path=str(tmp_path / "o")), torch.float32)
    original = load_file(model / "model.safetensors")["model.layers.0.mlp.up_proj.weight"]
    assert torch.equal(loaded.model.layers[0].mlp.up_proj.weight, original.bfloat16().float())


def test_mixed_bits_keep_to_their_budget_and_are_read(model: Path, talk: Path, tmp_path: Path) -> None:
    assert main(words(model, talk, tmp_path / "o", "average_bits=4.5", "symmetric=false")) == 0
    chosen = read_json(tmp_path / "o" / "bits.json")
    assert chosen["average"] <= 4.5
    assert len(set(chosen["bits"].values())) > 1
    loaded = load_model(ModelSection(path=str(tmp_path / "o")), torch.float32)
    for name, bits in list(chosen["bits"].items())[::5]:
        assert torch.allclose(
            loaded.get_submodule(name).weight, read_by_hand(tmp_path / "o" / "model", name, bits), rtol=1e-6, atol=1e-9
        )


def test_the_template_and_every_end_token_go_along(model: Path, talk: Path, tmp_path: Path) -> None:
    assert main(words(model, talk, tmp_path / "o")) == 0
    folder = tmp_path / "o" / "model"
    end = build_tokenizer().convert_tokens_to_ids("<|im_end|>")
    assert end in read_json(folder / "generation_config.json")["eos_token_id"]
    assert "<|im_start|>" in (folder / "chat_template.jinja").read_text(encoding="utf-8")
    answers = tmp_path / "answers.jsonl"
    line = ["infer", f"model.path={tmp_path / 'o'}", f"data.path={talk}", "data.limit=2", "generation.max_new_tokens=4"]
    assert main([*line, f"output_dir={answers}"]) == 0


SCRIPT = """
import sys, time
import belle.quantization.whole as whole
slow = whole._write
def write(*args):
    time.sleep(float(sys.argv[1]))
    slow(*args)
    print("block", flush=True)
whole._write = write
from belle.cli import main
main(sys.argv[2:])
"""


def start(command: list[str], wait: float) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(wait), *command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


def test_killed_and_called_again_it_ends_with_the_same_bytes(model: Path, talk: Path, tmp_path: Path) -> None:
    command = words(model, talk, tmp_path / "killed", "bits=4", "method=awq")
    process = start(command, 0.3)
    assert process.stdout is not None
    assert process.stdout.readline() == "block\n"
    time.sleep(0.1)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed" / "model").exists()
    assert main(["infer", f"model.path={tmp_path / 'killed'}", f"data.path={talk}", f"output_dir={tmp_path / 'a'}"]) == 2
    first = (tmp_path / "killed" / "blocks" / "0000.safetensors").stat().st_mtime_ns
    assert main(command) == 0
    assert main(words(model, talk, tmp_path / "whole", "bits=4", "method=awq")) == 0
    ours, theirs = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("killed", "whole"))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert first > 0
    rows = [list(read_rows(tmp_path / name / "metrics.jsonl")) for name in ("killed", "whole")]
    assert [{k: v for k, v in row.items() if k != "seconds"} for row in rows[0]] == [
        {k: v for k, v in row.items() if k != "seconds"} for row in rows[1]
    ]


def test_the_same_command_again_repeats_nothing(
    model: Path, talk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = words(model, talk, tmp_path / "o", "method=rtn")
    assert main(command) == 0
    stamp = (tmp_path / "o/model/model.safetensors").stat().st_mtime_ns
    assert main(command) == 0
    assert "already finished" in capsys.readouterr().err
    assert (tmp_path / "o/model/model.safetensors").stat().st_mtime_ns == stamp


@pytest.mark.parametrize(("more", "message"), [
    (["group_size=4"], "group_size=4 is too small"),
    (["average_bits=9"], "average_bits=9 is not from 2 to 8"),
    (["average_bits=4", "method=rtn"], "average_bits goes with method=gptq"),
    (["bits=5"], "bits: should be"),
    (["length=5000"], "not one window of 5000"),
    (["calibration.path=nowhere.jsonl"], "nowhere.jsonl"),
])  # fmt: skip
def test_what_cannot_be_is_one_error(
    model: Path, talk: Path, tmp_path: Path, more: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(model, talk, tmp_path / "o", *more)) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "o" / "run.json").exists(), "the folder is as it was"


def test_a_model_that_must_not_leave_and_a_quantised_one_are_refused(
    model: Path, talk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken: Any = tiny_llama(len(build_tokenizer()))
    with torch.no_grad():
        broken.model.layers[1].mlp.up_proj.weight[3, 3] = float("nan")
    folder = sound(tmp_path / "broken")
    broken.save_pretrained(folder)
    assert main(words(folder, talk, tmp_path / "a")) == 2
    said = capsys.readouterr().err
    assert "must not leave as it is" in said
    assert "up_proj" in said
    assert main(words(model, talk, tmp_path / "b")) == 0
    capsys.readouterr()
    assert main(words(tmp_path / "b", talk, tmp_path / "c")) == 2
    assert "quantised already" in capsys.readouterr().err


def test_a_text_file_and_shipped_text_calibrate_too(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = tmp_path / "text.jsonl"
    text.write_text(
        "".join(json.dumps({"text": "春眠不觉晓，处处闻啼鸟。" * 9}, ensure_ascii=False) + "\n" for _ in range(9)),
        encoding="utf-8",
    )
    common = ["quantize", str(model), "group_size=16", "samples=4", "length=64"]
    assert main([*common, f"calibration.path={text}", f"output_dir={tmp_path / 'a'}"]) == 0
    capsys.readouterr()
    assert main([*common, f"output_dir={tmp_path / 'b'}"]) == 0
    assert "Chinese and English instructions" in capsys.readouterr().err
    notes = read_json(tmp_path / "b" / "run.json")["notes"]["calibration"]
    assert notes["text"] == ["shipped:instructions_zh.jsonl", "shipped:instructions_en.jsonl"]


def test_groups_that_do_not_divide_the_inputs_are_said(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    short = ["quantize", str(model), "method=rtn", "verify=false"]
    main([*short, "group_size=32", f"output_dir={tmp_path / 'a'}"])
    assert "48 inputs end in a group that is shorter than 32" in capsys.readouterr().err
    main([*short, "group_size=16", f"output_dir={tmp_path / 'b'}"])
    assert "shorter" not in capsys.readouterr().err
