"""`domainbench init`: a new project that runs as it is and shows where one's own documents go."""

import shutil
from pathlib import Path

from benchmark.errors import BenchError
from benchmark.files import replacing, shown
from benchmark.project import builtin_root

_EXAMPLE = "structured_finance"


def make_project(folder: Path) -> list[str]:
    """Copy the built-in project's domain, hand-written model specs and benchmark file into a new folder.

    Returns:
        Lines that say what to do next.

    Raises:
        BenchError: The folder holds something already.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BenchError(f"{shown(folder)}: is not empty; name a new folder")
    source = builtin_root()
    with replacing(folder) as target:
        shutil.copytree(source / "tasks" / _EXAMPLE, target / "tasks" / _EXAMPLE)
        (target / "model_specs").mkdir()
        for path in sorted((source / "model_specs").glob("*.yaml")):
            # Specs that a training run emitted point at weights that stay behind.
            if not path.read_text(encoding="utf-8").startswith("# Emitted by"):
                shutil.copy(path, target / "model_specs" / path.name)
        shutil.copy(source / "benchmark.yaml", target / "benchmark.yaml")
        (target / "results").mkdir()
    name = shown(folder)
    return [
        f"{name}: a project with the example domain tasks/{_EXAMPLE}",
        f"1. copy tasks/{_EXAMPLE} to tasks/<your domain> and put your documents and questions.jsonl in place of its own",
        "2. name it under 'domains' in benchmark.yaml, and your language model under 'llm'",
        f"3. domainbench --project {name} check",
        f"4. domainbench --project {name} run",
    ]
