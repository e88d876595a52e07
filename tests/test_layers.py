"""Layers point downward, and nothing heavy is imported before a command needs it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "benchmark"
HEAVY = {
    "torch", "mteb", "sentence_transformers", "transformers", "ranx", "openai", "huggingface_hub", "matplotlib",
    "datasets", "scipy", "sklearn", "numba", "bm25s", "pyarrow", "httpx2", "jsonschema", "lingua", "starlette", "uvicorn", "playwright",
    "typst", "haystack", "haystack_integrations", "onnx", "onnxruntime", "openvino", "ray",
}  # fmt: skip
LAYERS = [
    {
        "errors",
        "files",
        "console",
        "provenance",
        "specs",
        "records",
        "project",
        "runs",
        "weights",
        "stats",
        "escape",
        "licences",
        "device",
        "pages",
        "downloads",
        "answer_records",
    },
    {"llm"},
    {"encoders"},
    {"domain", "synthesis", "training", "evaluation", "answers", "rating", "reporting"},
    {"hub", "export"},
    {"pipeline"},
    {"cli"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def imports(path: Path, *, top_only: bool) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = set()

    def walk(node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                found.update(alias.name for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                found.add(child.module or "")
            elif isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
                continue
            if top_only and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                continue
            walk(child)

    walk(tree)
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_layers_point_downward(path):
    package = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for name in imports(path, top_only=False):
        if not name.startswith("benchmark."):
            continue
        other = name.split(".")[1]
        assert other == package or LEVEL[other] < LEVEL[package] or LEVEL[package] == 0 == LEVEL[other], name


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_heavy_libraries_are_imported_inside_functions(path):
    heavy = {name for name in imports(path, top_only=True) if name.split(".")[0] in HEAVY}
    assert not heavy


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from benchmark.cli.main import run_app; run_app(['--help']);"
        "print('LOADED', *sorted({name.split('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split("LOADED", 1)[1].split())
    assert not loaded & (HEAVY | {"numpy", "pydantic", "yaml", "jinja2"})


def test_each_module_stays_readable():
    long = {path.name: n for path in MODULES if (n := len(path.read_text(encoding="utf-8").splitlines())) > 400}
    assert not long
