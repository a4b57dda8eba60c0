"""A program that imports the library keeps torch and its allocator as they are; commands opt in."""

from __future__ import annotations

import subprocess
import sys

import pytest

PLAIN = """
import sys
called = set()
def hook(event, arguments):
    if event == "ctypes.dlsym":
        called.add(arguments[1])
sys.addaudithook(hook)

import torch
modules = {name for name in sys.modules if name.startswith("torch.")}
own = (torch.compiler.disable, torch._disable_dynamo)

def variables():  # torch's compiler sets one itself
    found = dict(__import__("os").environ)
    found.pop("TORCHINDUCTOR_CACHE_DIR", None)
    return found

environment = variables()

def unchanged():
    assert (torch.compiler.disable, torch._disable_dynamo) == own
    assert "torch._dynamo.utils" not in sys.modules or sys.modules["torch._dynamo.utils"].__file__
    assert variables() == environment
    assert not {"mallopt", "malloc_trim"} & called, called

import vtnstream
vtnstream.load_model, vtnstream.create_model, vtnstream.OnlineModel
from vtnstream.models.backbone import create_backbone
unchanged()
assert not {"torch._dynamo", "torch._dynamo.utils", "torch._inductor", "sympy"} & set(sys.modules)
from vtnstream.config import BackboneConfig
create_backbone(BackboneConfig("test_vit"))
unchanged()
assert "torch._dynamo" in sys.modules, "timm is imported plainly"

from vtnstream.cli.framework.process_settings import keep_freed_memory
keep_freed_memory()
assert "mallopt" in called or sys.platform != "linux", "the hook sees it"
"""

FEATURES = """
import os, sys
import torch  # once for all settings
for setting in sys.argv[1:]:
    child = os.fork()
    if child == 0:
        break
    if os.waitpid(child, 0)[1]:
        sys.exit(f"{setting} failed")
else:
    sys.exit()
if setting != "plain":
    from vtnstream.cli.framework.process_settings import postpone_compiler
    postpone_compiler()
if setting == "another torch":
    lazily = torch._disable_dynamo
    torch._disable_dynamo = lambda fn=None, **options: lazily(fn, **options)
if setting == "failing":
    from vtnstream.models.torch_internals import lazy_compiler
    def disable(*arguments, **options):
        raise RuntimeError("timm cannot be imported this way")
    lazy_compiler._postponing_disable = lambda: disable
own = torch.compiler.disable
from vtnstream.config import BackboneConfig
from vtnstream.models.backbone import create_backbone
torch.manual_seed(0)
backbone = create_backbone(BackboneConfig("test_vit", {"img_size": 32})).eval()
with torch.inference_mode():
    features = backbone(torch.ones(1, 3, 32, 32))
assert torch.compiler.disable is own
print(setting, "torch._dynamo" in sys.modules, features.numpy().tobytes().hex(), flush=True)
os._exit(0)
"""


def run(program: str, *arguments: str) -> str:
    command = [sys.executable, "-W", "ignore", "-c", program, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_importing_the_library_changes_nothing() -> None:
    run(PLAIN)


SETTINGS = ("plain", "light", "another torch", "failing")


@pytest.fixture(scope="module")
def imports() -> dict[str, list[str]]:
    """Of each setting: whether torch's compiler was imported, and the features."""
    lines = run(FEATURES, *SETTINGS).splitlines()
    return {setting: line.split()[-2:] for setting, line in zip(SETTINGS, lines, strict=True)}


@pytest.mark.parametrize("setting", SETTINGS)
def test_every_import_of_timm_gives_the_same_features(
    setting: str, imports: dict[str, list[str]]
) -> None:
    with_compiler, features = imports[setting]
    assert features == imports["plain"][1]
    assert with_compiler == str(setting != "light")
