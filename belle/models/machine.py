"""What this machine has: packages, processor, accelerator, memory and disk, each as a finding with its fix."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import psutil
import torch

from belle.errors import Finding
from belle.models.load import device, model_dtype
from belle.models.memory import gigabytes
from belle.runs import PACKAGES

CGROUP = Path("/sys/fs/cgroup")


def check_machine() -> list[Finding]:
    """All that can be said without a recipe."""
    return [*check_packages(), check_processor(), check_arithmetic(), check_accelerator()]


def check_packages(names: Iterable[str] = PACKAGES) -> list[Finding]:
    """Python and the packages that matter most against the ranges that belle itself was installed with."""
    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet

    try:
        about = metadata.metadata("belle")
    except metadata.PackageNotFoundError:
        found = "runs from a folder and is not installed, so no versions can be compared"
        return [Finding("warning", "belle", found, "pip install -e .")]
    findings = []
    wanted = SpecifierSet(about["Requires-Python"] or "")
    python = platform.python_version()
    if wanted.contains(python, prereleases=True):
        findings.append(Finding("ok", "Python", python))
    else:
        findings.append(Finding("error", "Python", f"{python}, and belle needs {wanted}", f"use a Python {wanted}"))
    needed = {r.name.lower(): r for r in map(Requirement, metadata.requires("belle") or []) if not r.marker}
    for name in names:
        findings.append(_package(name, needed[name].specifier if name in needed else SpecifierSet()))
    return findings


def _package(name: str, wanted: object) -> Finding:
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Finding("error", name, "not installed", f"pip install '{name}{wanted}'")
    if not wanted.contains(version, prereleases=True):  # type: ignore[attr-defined]
        return Finding("error", name, f"{version}, and belle needs {wanted}", f"pip install '{name}{wanted}'")
    return Finding("ok", name, version)


def check_processor() -> Finding:
    """Cores that this process may use."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = torch.get_num_threads()
    text = f"{allowed} cores, {threads} threads for arithmetic"
    if threads < allowed // 2:
        return Finding("warning", "processor", text, "unset OMP_NUM_THREADS if nothing else runs here")
    return Finding("ok", "processor", text)


def check_arithmetic() -> Finding:
    """The type that `model.dtype: auto` stands for here."""
    name = str(model_dtype("auto")).removeprefix("torch.")
    where = device().type
    if name == "float16":
        found = f"this {where} has no bfloat16; auto is float16, which does not train"
        return Finding("warning", "arithmetic", found, "model.dtype=float32")
    why = "" if name == "bfloat16" else f": this {where} has no instructions for bfloat16, so training is slower"
    return Finding("ok", "arithmetic", f"auto is {name}{why}")


def check_accelerator() -> Finding:
    """The GPU, or that there is none."""
    if torch.cuda.is_available():
        cards = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
        return Finding("ok", "accelerator", "; ".join(f"{card.name}, {gigabytes(card.total_memory)}" for card in cards))
    if torch.backends.mps.is_available():
        return Finding("ok", "accelerator", "Apple GPU (mps)")
    if torch.version.cuda is None and shutil.which("nvidia-smi"):
        fix = "install a CUDA build of torch (https://pytorch.org/get-started)"
        return Finding("warning", "accelerator", "there seems to be an NVIDIA GPU, and this torch is built for the CPU only", fix)
    return Finding("ok", "accelerator", "none: the CPU computes, which suits models of up to some hundred million weights")


def free_memory() -> int:
    """Bytes that a new process may take: of the GPU where there is one, else of the machine and of its container."""
    if torch.cuda.is_available():
        return int(torch.cuda.mem_get_info()[0])
    free = int(psutil.virtual_memory().available)
    limit, used = (CGROUP / name for name in ("memory.max", "memory.current"))
    try:
        return min(free, int(limit.read_text()) - int(used.read_text()))
    except (OSError, ValueError):  # no such container, or "max"
        return free


def check_memory(need: int, text: str, free: int, fix: str) -> Finding:
    """Compare an estimate with what is free; estimates of this kind are good to a quarter."""
    found = f"{gigabytes(free)} free; estimate {text}"
    if need > free:
        return Finding("error", "memory", found, fix)
    if need > 0.75 * free:
        return Finding("warning", "memory", f"{found}: close to the limit", fix)
    return Finding("ok", "memory", found)


def check_disk(name: str, folder: Path, need: int) -> Finding:
    """Whether `folder`, which may not exist yet, can be written and has room for `need` bytes."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        return Finding("error", name, f"{folder}: {there} cannot be written", "choose another folder")
    free = shutil.disk_usage(there).free
    found = f"{folder}: {gigabytes(free)} free" + (f", about {gigabytes(need)} needed" if need else "")
    if need > free:
        return Finding("error", name, found, "free some space or choose another disk")
    return Finding("ok", name, found)
