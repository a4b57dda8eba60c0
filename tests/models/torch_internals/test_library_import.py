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
own, environment = (torch.compiler.disable, torch._disable_dynamo), dict(__import__("os").environ)

def unchanged():
    assert (torch.compiler.disable, torch._disable_dynamo) == own
    assert "torch._dynamo.utils" not in sys.modules or sys.modules["torch._dynamo.utils"].__file__
    assert dict(__import__("os").environ) == environment
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
import sys
setting = sys.argv[1]
if setting != "plain":
    from vtnstream.cli.framework.process_settings import postpone_compiler
    postpone_compiler()
import torch
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
print(setting, "torch._dynamo" in sys.modules, features.numpy().tobytes().hex())
"""


def run(program: str, *arguments: str) -> str:
    command = [sys.executable, "-W", "ignore", "-c", program, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_importing_the_library_changes_nothing() -> None:
    run(PLAIN)


@pytest.fixture(scope="module")
def plain() -> str:
    *_, with_compiler, features = run(FEATURES, "plain").split()
    assert with_compiler == "True"
    return features


@pytest.mark.parametrize("setting", ["light", "another torch", "failing"])
def test_every_import_of_timm_gives_the_same_features(setting: str, plain: str) -> None:
    *_, with_compiler, features = run(FEATURES, setting).split()
    assert features == plain
    assert with_compiler == str(setting != "light")
