from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sound_model import change_json, copied, main

from belle.errors import Finding
from belle.release import check_gguf
from belle.release.check_gguf import ASKS_LLAMA, CHECKS, NEEDS
from belle.release.exported import Exported
from belle.release.gguf_check import installed
from belle.release.verify import run_checks

FILE = "gguf/sound-Q8_0.gguf"


@pytest.fixture(scope="module")
def exported_home(sound_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = copied(sound_home, tmp_path_factory.mktemp("gguf") / "home")
    words = ["export", "gguf", str(home / "merged"), "type=[Q8_0]", "name=sound", "check=nothing", f"output_dir={home / 'gguf'}"]
    assert main(words) == 0
    return home


@pytest.fixture
def home(exported_home: Path, tmp_path: Path) -> Path:
    return copied(exported_home, tmp_path / "home")


def findings(home: Path) -> list[Finding]:
    found = Exported.find(str(home / "gguf"))
    assert found is not None
    checks = {name: check for name, check in CHECKS.items() if name not in ASKS_LLAMA or installed()}
    return list(run_checks(found, checks, NEEDS))


def replace(old: str, new: str, file: str = "gguf/Modelfile") -> Callable[[Path], object]:
    def plant(home: Path) -> None:
        data = (home / file).read_bytes()
        assert data.count(old.encode()) >= 1
        (home / file).write_bytes(data.replace(old.encode(), new.encode()))

    return plant


def spoil_tensor(value: int, name: str = "blk.0.ffn_up.weight") -> Callable[[Path], object]:
    """The bytes of a tensor are all the same."""

    def plant(home: Path) -> None:
        import gguf

        (tensor,) = [t for t in gguf.GGUFReader(home / FILE).tensors if t.name == name]
        data = np.memmap(home / FILE, np.uint8, "r+")
        data[tensor.data_offset : tensor.data_offset + tensor.n_bytes] = value
        data.flush()

    return plant


def halve(home: Path) -> None:
    path = home / FILE
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def other_end(home: Path) -> None:
    """The model ends answers with a token that the file does not know as an end."""
    path = home / "merged/chat_template.jinja"
    path.write_text(path.read_text(encoding="utf-8").replace("<|im_end|>", "<|eot_id|>"), encoding="utf-8")


DEFECTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a truncated file": (halve, "files"),
    "a tensor of NaN": (spoil_tensor(255), "tensors"),
    "a tensor of zeros": (spoil_tensor(0), "tensors"),
    "a token with another name": (replace("<|start_header_id|>", "<|START_header_id|>", FILE), "vocabulary"),
    "an end that is not known": (other_end, "ends"),
    "another template inside": (replace('"<|im_start|>assistant\\n" }}', '"<|im_start|>assistent\\n" }}', FILE), "template"),
    "a Modelfile of another file": (replace("./sound-Q8_0.gguf", "./sound-Q4_K_M.gguf"), "modelfile"),
    "a Modelfile with another template": (replace("<|im_start|>user\n", "<|im_start|>user "), "modelfile"),
    "a Modelfile that does not stop": (replace('PARAMETER stop "<|im_end|>"\n', ""), "modelfile"),
    "a file that was changed": (spoil_tensor(1), "hashes"),
    "a model that was changed since": (lambda h: shutil.copyfile(h / "base/model.safetensors", h / "merged/model.safetensors"),
                                       "lineage"),
}  # fmt: skip


def test_a_good_export_has_no_fault(exported_home: Path) -> None:
    found = findings(exported_home)
    assert [finding for finding in found if finding.level == "error"] == []
    assert {finding.check for finding in found} == {name for name in CHECKS if name not in ASKS_LLAMA or installed()}
    assert [finding.check for finding in found if finding.level == "warning"] == ["licence"]


@pytest.mark.parametrize("name", DEFECTS)
def test_a_planted_defect_is_caught_by_name(name: str, home: Path) -> None:
    plant, check = DEFECTS[name]
    plant(home)
    errors = [finding for finding in findings(home) if finding.level == "error"]
    assert check in {finding.check for finding in errors}, errors
    assert not any("cannot be looked at" in finding.found for finding in errors)


def test_without_the_model_the_files_alone_are_looked_at(home: Path) -> None:
    shutil.rmtree(home / "merged")
    found = findings(home)
    assert {f.check for f in found if f.level == "warning"} >= {"vocabulary", "template", "modelfile", "lineage"}
    assert [f.check for f in found if f.level == "error"] == []


def test_the_model_may_be_named(home: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone.gguf"
    shutil.copyfile(home / FILE, alone)
    found = Exported.find(str(alone), source=str(home / "base"))
    assert found is not None
    assert [f.level for f in check_gguf.template(found)] == ["ok"]
    assert [f.level for f in check_gguf.vocabulary(found)] == ["ok"]
    assert list(check_gguf.modelfile(found)) == []


def test_a_model_that_was_trained_to_end_otherwise_is_not_good_enough(home: Path) -> None:
    change_json(home / "merged/tokenizer_config.json", eos_token="</s>")
    found = Exported.find(str(home / "gguf"))
    assert found is not None
    assert [f.level for f in check_gguf.ends(found)] == ["ok"], "the template's own end counts"
