"""Make `.venv` ready to run belle: `python3 scripts/setup_env.py [--dev]`. Needs Python 3.10 and its standard library only.

Done once, it is not done again until pyproject.toml, this script or the Python changes. Killed at any moment, it starts over.
On Linux without an NVIDIA GPU it installs a CPU build of torch: where what pip would take asks for CUDA, torch comes from
PyTorch's own index of CPU wheels, or from the index that BELLE_TORCH_INDEX names.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

if sys.version_info < (3, 10):  # noqa: UP036 - the one file that older Pythons read, down to 3.6, and so nothing newer stands above

    def _works(name):
        try:
            return subprocess.call([name, "-c", "0"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0
        except OSError:
            return False

    _newer = next(filter(_works, [f"python3.{minor}" for minor in range(14, 9, -1)]), "")
    sys.exit(
        "error: belle needs Python 3.10 or newer, {} is {}.{}.{}\n  fix: {}".format(
            sys.executable, *sys.version_info[:3],
            "use the newer one that is here: make demo PYTHON=" + _newer if _newer else "install Python 3.10 or newer",
        )
    )  # fmt: skip

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
LOG = VENV / "setup.log"
STAMP = VENV / "setup.json"
UNFINISHED = VENV / "setup-unfinished"
"""Stands while packages are being installed: a set-up that died in the middle is thrown away, not repaired."""

TORCH = "torch==2.13.0"
TORCH_RANGE = "torch>=2.6"
"""For a Python or a machine that TORCH has no wheel for."""
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
OLDEST_PIP = (24, 1)
"""The first that can tell what it would install without downloading it."""

# Run by the new interpreter, on pip's report of what it would install: the packages of CUDA among what torch asks for here.
CUDA_NEEDS = """
import json, re, sys
from pip._vendor.packaging.requirements import Requirement
wanted = [Requirement(line) for item in json.load(sys.stdin)["install"] for line in item["metadata"].get("requires_dist", [])]
here = [w.name for w in wanted if w.marker is None or w.marker.evaluate({"extra": ""})]
print(" ".join(name for name in here if re.match("nvidia|cuda|triton", name)))
"""


class SetupError(Exception):
    """Something that the user can mend; its text says how."""


class Steps:
    """Commands whose noise goes to the log and of which the terminal shows a line each."""

    def __init__(self, lock: int) -> None:
        self.lock = lock
        hidden = ("PYTHONPATH", "PYTHONHOME", "PIP_REQUIRE_VIRTUALENV")
        self.environment = {name: value for name, value in os.environ.items() if name not in hidden}
        self.environment |= {"PIP_USER": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}

    def pip(self, *words: str) -> list[str]:
        """The command that installs `words`."""
        return [str(PYTHON), "-m", "pip", "install", "--progress-bar", "off", *words]

    def run(self, name: str, command: list[str], fix: str = "") -> None:
        """Run a step, or raise an error with the end of what it printed."""
        if not self.attempt(name, command):
            printed = LOG.read_text(encoding="utf-8", errors="replace").rpartition("\n$ ")[2]
            network = re.findall(r"connection broken by '(.+)': /", printed)
            lines = network[-1:] or [line for line in printed.splitlines()[1:] if line.strip()][-12:]
            shown = "\n".join(f"    {line}" for line in lines)
            fix = fix or "if the network failed, run the same command again: what was downloaded is kept"
            raise SetupError(f"the step '{name}' failed:\n{shown}\n  fix: {fix}\n  all of it: {LOG}")

    def attempt(self, name: str, command: list[str]) -> bool:
        """Run a step and say how long it took; whether it went well."""
        started = time.monotonic()
        live = sys.stderr.isatty()
        with LOG.open("a", encoding="utf-8") as log:
            log.write(f"\n$ {' '.join(command)}\n")
            log.flush()
            process = subprocess.Popen(
                command, cwd=ROOT, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                pass_fds=(self.lock,),
            )  # fmt: skip
            while process.poll() is None:
                if live:
                    print(f"\r  {name} ... {time.monotonic() - started:.0f} s", end="", file=sys.stderr, flush=True)
                try:
                    process.wait(timeout=1 if live else None)
                except subprocess.TimeoutExpired:
                    continue
        end = "" if process.returncode == 0 else ", failed"
        print(f"{chr(13) if live else ''}  {name} ({time.monotonic() - started:.0f} s{end})", file=sys.stderr, flush=True)
        return process.returncode == 0

    def cuda_needs(self, package: str) -> str:
        """The CUDA packages that pip would bring along with `package`; "unknown" where it has no such package to offer."""
        # fast-deps reads the metadata out of the far end of a wheel where an index does not serve it apart.
        for more in (["--use-feature=fast-deps"], []):
            ask = [*self.pip("--dry-run", "--no-deps", "--ignore-installed", "--quiet", "--report", "-"), *more, package]
            report = self.ask(ask)
            if report:
                return self.ask([str(PYTHON), "-c", CUDA_NEEDS], report).strip()
        return "unknown"

    def ask(self, command: list[str], given: str = "") -> str:
        """What a command prints, or nothing if it fails."""
        done = subprocess.run(
            command, cwd=ROOT, env=self.environment, input=given, capture_output=True, text=True, check=False,
            pass_fds=(self.lock,),
        )  # fmt: skip
        with LOG.open("a", encoding="utf-8") as log:
            log.write(f"\n$ {' '.join(command)}\n{done.stderr}")
        return done.stdout if done.returncode == 0 else ""


def main(words: list[str]) -> int:
    """Set up and return the exit code: 0, 2 after an error that was explained, 130 after Ctrl-C."""
    try:
        dev = "--dev" in words
        with one_at_a_time() as lock:
            if not is_ready(dev):
                set_up(dev, lock)
    except SetupError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped; the same command begins the set-up anew", file=sys.stderr)
        return 130
    return 0


def is_ready(dev: bool) -> bool:
    """Whether an earlier set-up was of this same project and Python, and held at least these packages."""
    try:
        stamp = json.loads(STAMP.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    same = stamp["key"] == key() and PYTHON.exists() and not UNFINISHED.exists()
    return bool(same and (stamp["dev"] or not dev))


def key() -> str:
    """A hash of all that the environment depends on."""
    digest = hashlib.sha256(f"{sys.version} {ROOT}".encode())
    for path in (ROOT / "pyproject.toml", Path(__file__).resolve()):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def set_up(dev: bool, lock: int) -> None:
    """Create `.venv` and install torch, then belle. What is started inherits `lock`, so that it outlives a killed parent."""
    started = time.monotonic()
    dev = dev or _had_dev()
    gpu = has_nvidia_gpu()
    if UNFINISHED.exists() or not _same_python():
        shutil.rmtree(VENV, ignore_errors=True)
    VENV.mkdir(exist_ok=True)
    check_disk(8 if gpu else 2)
    build = "torch for the NVIDIA GPU" if gpu else "torch for the CPU" if sys.platform == "linux" else "torch"
    python = "{}.{}.{}".format(*sys.version_info[:3])
    print(f"setting up .venv: Python {python}, {build}; once, a few minutes (log: .venv/setup.log)", file=sys.stderr)
    UNFINISHED.touch()
    STAMP.unlink(missing_ok=True)
    steps = Steps(lock)
    steps.run("a virtual environment", [sys.executable, "-m", "venv", str(VENV)], _venv_fix())
    if pip_version(steps) < OLDEST_PIP:
        steps.run("a newer pip", steps.pip("--upgrade", "pip>={}.{}".format(*OLDEST_PIP)))
    if not steps.ask([str(PYTHON), "-c", "import torch; print(torch.__version__)"]):
        install_torch(steps, gpu)
    what = ".[dev]" if dev else "."
    steps.run("belle and its tools for tests" if dev else "belle", steps.pip("-e", what))
    steps.run("checked", [str(PYTHON), "-c", "import torch, transformers, belle; print('torch', torch.__version__)"])
    part = STAMP.with_suffix(".part")
    part.write_text(json.dumps({"key": key(), "dev": dev, "python": sys.version}) + "\n", encoding="utf-8")
    part.replace(STAMP)
    UNFINISHED.unlink()
    print(f"  ready in {time.monotonic() - started:.0f} s", file=sys.stderr)


def install_torch(steps: Steps, gpu: bool) -> None:
    """The build that fits the machine; without an NVIDIA GPU never one that brings CUDA."""
    index = os.environ.get("BELLE_TORCH_INDEX", "")
    plain = not index and (sys.platform != "linux" or gpu)
    if plain and gpu:
        steps.run("torch", steps.pip(TORCH_RANGE))
        return
    if plain or (not index and not steps.cuda_needs(TORCH)):
        if not steps.attempt("torch", steps.pip(TORCH)):
            steps.run("torch, any version", steps.pip(TORCH_RANGE))
        return
    index = index or CPU_INDEX
    where = ["--no-deps", "--index-url", index]  # what torch itself needs comes from the usual index, with belle
    fix = (
        f"torch comes from {index}; check the network and the proxy (HTTPS_PROXY), or name another index of CPU wheels:\n"
        "       BELLE_TORCH_INDEX=URL make demo"
    )
    if not steps.attempt("torch (CPU build)", steps.pip(*where, TORCH)):
        steps.run("torch (CPU build), any version", steps.pip(*where, TORCH_RANGE), fix)


def has_nvidia_gpu() -> bool:
    """Whether this machine drives an NVIDIA GPU; on other systems than Linux the plain torch is right in any case."""
    return sys.platform == "linux" and (os.path.exists("/dev/nvidiactl") or shutil.which("nvidia-smi") is not None)


def pip_version(steps: Steps) -> tuple[int, int]:
    """(major, minor) of the pip in `.venv`."""
    found = re.match(r"pip (\d+)\.(\d+)", steps.ask([str(PYTHON), "-m", "pip", "--version"]))
    return (int(found[1]), int(found[2])) if found else (0, 0)


def check_disk(gigabytes: int) -> None:
    """Refuse a disk on which the packages would not fit."""
    free = shutil.disk_usage(VENV).free / 1e9
    if free < gigabytes:
        raise SetupError(f"{free:.1f} GB are free at {ROOT}, {gigabytes} GB are needed\n  fix: free some space")


def _same_python() -> bool:
    """Whether the `.venv` that is there, if any, was made by this Python."""
    try:
        made = (VENV / "pyvenv.cfg").read_text(encoding="utf-8")
    except OSError:
        return True
    version = re.search(r"^version\s*=\s*(\d+)\.(\d+)", made, re.MULTILINE)
    return PYTHON.exists() and version is not None and (int(version[1]), int(version[2])) == sys.version_info[:2]


def _had_dev() -> bool:
    """Whether the tools for tests were installed before: they are brought along when the set-up is renewed."""
    try:
        return bool(json.loads(STAMP.read_text(encoding="utf-8"))["dev"])
    except (OSError, ValueError, KeyError):
        return False


def _venv_fix() -> str:
    version = "{}.{}".format(*sys.version_info[:2])
    return f"on Debian and Ubuntu: sudo apt install python{version}-venv" if sys.platform == "linux" else ""


@contextmanager
def one_at_a_time() -> Iterator[int]:
    """A lock on pyproject.toml, as a file descriptor; a pip that outlives its killed parent still holds it."""
    import fcntl

    with (ROOT / "pyproject.toml").open("r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            print("another set-up is at work here; waiting for it", file=sys.stderr)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
