"""What can be wrong with exported files: GGUF against the model it was made from, and the Modelfile beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from belle.data.rendering import Renderer, portable
from belle.errors import BelleError, Finding
from belle.release import go_template
from belle.release.check_behaviour import LONGEST, PROMPTS, conversations
from belle.release.check_lineage import chain_changes, licence_findings, product_changes
from belle.release.check_tokens import from_difference, writable
from belle.release.exported import Exported, value
from belle.release.gguf_check import compare_tokens, installed, opened
from belle.release.licences import licences
from belle.release.modelfile import read_modelfile

_ROWS = 4096  # of a tensor that are unpacked at once
_AGAIN = "export it again"


def files(subject: Exported) -> Iterator[Finding]:
    """Every file can be opened and has all its tensors."""
    for path, reader in subject.readers.items():
        size = sum(tensor.n_bytes for tensor in reader.tensors)
        yield Finding("ok", "files", f"{path.name}: {len(reader.tensors)} tensors, {size / 1e6:.1f} MB")


def tensors(subject: Exported) -> Iterator[Finding]:
    """No tensor is empty, constant or has a value that is not finite, when it is unpacked."""
    faults = []
    for path, reader in subject.readers.items():
        for tensor in reader.tensors:
            if fault := _fault(tensor):
                faults.append(Finding("error", "tensors", f"{path.name}: {tensor.name} {fault}", _AGAIN))
    yield from faults or [Finding("ok", "tensors", "all values are finite, no tensor is empty or constant")]


def _fault(tensor: Any) -> str:
    import gguf

    if not tensor.data.size:
        return "is empty"
    data = tensor.data.reshape(-1, tensor.data.shape[-1])
    least, most = np.inf, -np.inf
    for start in range(0, len(data), _ROWS):
        block = gguf.quants.dequantize(data[start : start + _ROWS], tensor.tensor_type)
        least, most = float(np.minimum(least, block.min())), float(np.maximum(most, block.max()))
    if not np.isfinite(least + most):
        return "has a value that is not finite"
    # As in check_files: a norm may be all ones and a bias all zeros.
    allowed = len(tensor.shape) == 1 and least == (0 if tensor.name.endswith("bias") else 1)
    return f"is {least:g} everywhere" if least == most and tensor.n_elements > 1 and not allowed else ""


def vocabulary(subject: Exported) -> Iterator[Finding]:
    """As many tokens as rows, and each is the token of the model it came from."""
    for path, reader in subject.wholes.items():
        tokens = value(reader, "tokenizer.ggml.tokens") or []
        rows = next((int(tensor.shape[-1]) for tensor in reader.tensors if tensor.name == "token_embd.weight"), 0)
        if len(tokens) != rows:
            yield Finding("error", "vocabulary", f"{path.name}: {len(tokens)} tokens, {rows} rows", _AGAIN)
            continue
        if subject.source is None:
            yield Finding("warning", "vocabulary", f"{path.name}: the model it came from is not here to compare with", "base=...")
            continue
        texts = {number: text for text, number in subject.source.tokenizer.get_vocab().items()}
        other = next((n for n, text in texts.items() if n >= len(tokens) or tokens[n] != text), None)
        if other is not None:
            here = tokens[other] if other < len(tokens) else "not there"
            yield Finding("error", "vocabulary", f"{path.name}: token {other} is {here!r}, in the model {texts[other]!r}", _AGAIN)
        else:
            yield Finding("ok", "vocabulary", f"{path.name}: {len(texts)} tokens as in the model, {rows} rows")


def ends(subject: Exported) -> Iterator[Finding]:
    """What ends an answer ends it here."""
    for path, reader in subject.wholes.items():
        tokens = value(reader, "tokenizer.ggml.tokens") or []
        numbers = [value(reader, f"tokenizer.ggml.{name}_token_id") for name in ("eos", "eot", "eom")]
        have = {tokens[n] for n in numbers if n is not None and n < len(tokens)}
        source = subject.source
        wanted = {source.tokenizer.convert_ids_to_tokens(source.template.end_token_ids[0])} if source and source.talks else set()
        if not have or wanted - have:
            lacking = ", ".join(map(repr, sorted(wanted - have))) or "any end token"
            yield Finding("error", "ends", f"{path.name} does not know {lacking} as an end: it would not stop", _AGAIN)
        else:
            yield Finding("ok", "ends", f"{path.name}: answers end with {', '.join(map(repr, sorted(have)))}")


def template(subject: Exported) -> Iterator[Finding]:
    """The template inside writes what that of the model writes."""
    for path, reader in subject.wholes.items():
        inside = value(reader, "tokenizer.chat_template")
        source = subject.source
        if source is None or not source.talks:
            known = "the model it came from has none" if source is not None else "the model it came from is not here"
            what = f"{path.name} has {'a' if inside else 'no'} chat template, and {known}"
            yield Finding("warning", "template", what, "see that it is the right one" if inside else "")
            continue
        if not inside or portable(inside) != inside:
            what = "has marks in its chat template that only transformers knows" if inside else "has no chat template"
            yield Finding("error", "template", f"{path.name} {what}", _AGAIN)
            continue
        variables = {name: text for name, text in source.tokenizer.special_tokens_map.items() if isinstance(text, str)}
        renderer = Renderer(path.name, inside, variables, ())
        probes = writable(source.template)
        other = next((p for p in probes if renderer.render(p, (), True) != source.template.text(p, prompt=True)), None)
        if other is not None:
            here, there = renderer.render(other, (), True), source.template.text(other, prompt=True)
            what = f"{path.name}: its template writes {from_difference(here, there)}, the model's {from_difference(there, here)}"
            yield Finding("error", "template", what, _AGAIN)
        else:
            told = f"{path.name}: writes what the model's template writes on {len(probes)} conversations"
            yield Finding("ok", "template", told)


def modelfile(subject: Exported) -> Iterator[Finding]:
    """The Modelfile names a file that is there, writes what the model's template writes, and stops at every end."""
    path = subject.folder / "Modelfile"
    if not path.is_file():
        return
    read = read_modelfile(path)
    file = subject.folder / read.source
    faults = []
    if file not in subject.readers:
        faults.append(Finding("error", "modelfile", f"FROM {read.source}: no such file here", _AGAIN))
    source = subject.source
    if source is None or not source.talks:
        yield from faults or [Finding("warning", "modelfile", "the model's template is not here to compare with", "base=...")]
        return
    reader = subject.readers.get(file)
    tokens = value(reader, "tokenizer.ggml.tokens") if reader is not None else []
    bos = tokens[value(reader, "tokenizer.ggml.bos_token_id")] if reader and value(reader, "tokenizer.ggml.add_bos_token") else ""
    end = source.tokenizer.convert_ids_to_tokens(source.template.end_token_ids[0])
    if end not in read.parameters.get("stop", ()):
        faults.append(Finding("error", "modelfile", f"it does not stop at {end!r}", f'add: PARAMETER stop "{end}"'))
    for probe in writable(source.template):
        try:
            written = bos + go_template.render(read.template, probe)
        except BelleError as error:
            faults.append(Finding("warning", "modelfile", f"its template cannot be followed: {error.message}", error.fix))
            break
        wanted = source.template.text(probe, prompt=True)
        if written != wanted:
            what = f"its template writes {from_difference(written, wanted)}, the model's {from_difference(wanted, written)}"
            faults.append(Finding("error", "modelfile", what, _AGAIN))
            break
    yield from faults or [Finding("ok", "modelfile", f"the same texts as the model's template, stops at {end!r}")]


def hashes(subject: Exported) -> Iterator[Finding]:
    """The files are those that the export wrote."""
    if subject.run is not None:
        yield from product_changes(subject.run)


def lineage(subject: Exported) -> Iterator[Finding]:
    """The runs behind it are there, and what they read is what is there now."""
    yield from chain_changes(subject.chain)


def licence(subject: Exported) -> Iterator[Finding]:
    """The licences of base and data are named."""
    yield from licence_findings(licences(subject.chain, None, subject.licences))


def llama_cpp(subject: Exported) -> Iterator[Finding]:
    """llama.cpp loads each file, and cuts texts as the model's tokenizer does."""
    if not installed():
        yield Finding("warning", "llama.cpp", "the files were not loaded", "pip install 'belle[gguf]' brings llama.cpp")
        return
    for path in subject.wholes:
        if subject.source is None:
            with opened(path, vocab_only=True):
                yield Finding("ok", "llama.cpp", f"{path.name} loads")
        else:
            count = compare_tokens(path, subject.source.tokenizer)
            yield Finding("ok", "llama.cpp", f"{path.name}: the same tokens in {count} texts")


def stops(subject: Exported) -> Iterator[Finding]:
    """In llama.cpp, short questions get answers that end by themselves."""
    source = subject.source
    if not installed() or source is None or not source.talks:
        return
    prompts = [source.template.prompt(conversation.messages[:1]) for conversation in conversations()[:PROMPTS]]
    for path, reader in subject.wholes.items():
        found = [value(reader, f"tokenizer.ggml.{name}_token_id") for name in ("eos", "eot", "eom")]
        stop = {number for number in found if number is not None}
        ended = 0
        with opened(path, n_ctx=max(map(len, prompts)) + LONGEST) as llm:
            for prompt in prompts:
                llm.reset()
                for count, token in enumerate(llm.generate(prompt, temp=0.0, repeat_penalty=1.0)):
                    ended += token in stop
                    if token in stop or count >= LONGEST:
                        break
        told = f"{path.name}: {ended} of {len(prompts)} answers ended within {LONGEST} tokens"
        level = "ok" if 2 * ended >= len(prompts) else "warning" if ended else "error"
        yield Finding(level, "stops", told, "" if level == "ok" else "verify the model it came from")  # type: ignore[arg-type]


CHECKS: dict[str, Callable[[Exported], Iterable[Finding]]] = {
    "files": files, "tensors": tensors, "vocabulary": vocabulary, "ends": ends, "template": template, "modelfile": modelfile,
    "hashes": hashes, "lineage": lineage, "licence": licence, "llama.cpp": llama_cpp, "stops": stops,
}  # fmt: skip
"""name -> check of exported files, in the order in which they are made."""
ASKS_LLAMA = ("llama.cpp", "stops")
"""Checks that load the files with llama.cpp."""
NEEDS = dict.fromkeys(("tensors", "vocabulary", "ends", "template", "modelfile", *ASKS_LLAMA), ("files",))
