from __future__ import annotations

from pathlib import Path

import pytest
from tiny import build_tokenizer, tiny_model_folder

from belle.errors import BelleError
from belle.quantization.gguf_file import write_gguf
from belle.quantization.gguf_vocabulary import read_vocabulary
from belle.release.gguf_check import compare_answers, compare_tokens, opened, probe_texts
from belle.sections import ModelSection

pytest.importorskip("llama_cpp")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("check")
    tokenizer = build_tokenizer()
    tiny_model_folder(folder / "tiny")
    write_gguf(folder / "tiny", folder / "good.gguf", "F32", read_vocabulary(tokenizer, len(tokenizer), [3]), "tiny")
    return folder


def test_thousands_of_texts_have_the_same_tokens(files: Path) -> None:
    texts = probe_texts()
    assert len(texts) == len(set(texts)) == 2000
    assert compare_tokens(files / "good.gguf", build_tokenizer(), texts) == 2000


def test_another_cut_is_found_and_shown(files: Path) -> None:
    with pytest.raises(BelleError, match=r"good\.gguf: llama.cpp cuts .* into other tokens"):
        compare_tokens(files / "good.gguf", build_tokenizer(300))


def test_the_same_weights_answer_alike_and_others_do_not(files: Path, tmp_path: Path) -> None:
    prompts = [[5, 6, 7, 8], [100, 101], [30, 31, 32]]
    same, difference = compare_answers(files / "good.gguf", ModelSection(path=str(files / "tiny")), prompts)
    assert same == 3
    assert difference < 0.02
    tiny_model_folder(tmp_path / "other", seed=2)
    assert compare_answers(files / "good.gguf", ModelSection(path=str(tmp_path / "other")), prompts)[1] > 0.5


def test_a_broken_file_is_one_error(files: Path, tmp_path: Path) -> None:
    (tmp_path / "half.gguf").write_bytes((files / "good.gguf").read_bytes()[:3000])
    with pytest.raises(BelleError, match="does not load"), opened(tmp_path / "half.gguf"):
        pass
