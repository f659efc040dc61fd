from __future__ import annotations

from pathlib import Path

import pytest

from belle.data.chat_template import ChatTemplate
from belle.errors import BelleError
from belle.release.check_tokens import PROBES
from belle.release.go_template import render
from belle.release.modelfile import read_modelfile
from belle.release.ollama import find_pieces, modelfile


def test_every_instruction_is_read(tmp_path: Path) -> None:
    path = tmp_path / "Modelfile"
    path.write_text(
        '# mine\nFROM ./a b.gguf\n\ntemplate """{{ .System }}\n"quoted" """\nPARAMETER stop "<|im_end|>"\n'
        'PARAMETER stop "\\n"\nPARAMETER num_ctx 4096\nSYSTEM 你好\nLICENSE """MIT\n"""\n', encoding="utf-8",
    )  # fmt: skip
    read = read_modelfile(path)
    assert (read.source, read.template, read.system) == ("./a b.gguf", '{{ .System }}\n"quoted" ', "你好")
    assert read.parameters == {"stop": ["<|im_end|>", "\n"], "num_ctx": ["4096"]}


@pytest.mark.parametrize(("text", "message"), [("FORM x\n", "Modelfile:1: no instruction: 'FORM x'"), ("SYSTEM x\n", "no FROM")])
def test_a_broken_one_is_an_error(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "Modelfile").write_text(text)
    with pytest.raises(BelleError, match=message):
        read_modelfile(tmp_path / "Modelfile")


@pytest.mark.parametrize("name", ["chatml", "belle", "llama3", "qwen"])
@pytest.mark.parametrize("bos", ["", "<s>"])
def test_what_belle_writes_says_what_the_chat_template_says(name: str, bos: str, tmp_path: Path, tiny_tokenizer: object) -> None:
    template = ChatTemplate.load(tiny_tokenizer, name)  # type: ignore[arg-type]
    path = tmp_path / "Modelfile"
    path.write_text(modelfile("x.gguf", find_pieces(template.text), bos, ["</s>"], {"num_ctx": 512}), encoding="utf-8")
    read = read_modelfile(path)
    for probe in PROBES:
        wanted = template.text(probe, prompt=True)
        assert render(read.template, probe) == wanted.removeprefix(bos)
