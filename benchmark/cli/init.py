"""`domainbench init`: a new project that runs as it is and shows where one's own documents go."""

import shutil
from pathlib import Path

from benchmark.errors import BenchError
from benchmark.files import replacing, shown
from benchmark.project import Project, builtin_root

_EXAMPLE = "structured_finance"
_TEMPLATE = Path(__file__).with_name("benchmark.yaml")
_IGNORED = Path(__file__).with_name("gitignore.txt")


def make_project(folder: Path) -> list[str]:
    """Copy the built-in project's domain and hand-written model specs into a new folder, with a benchmark file.

    Returns:
        Lines that say what to do next.

    Raises:
        BenchError: The folder holds something already.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BenchError(f"{shown(folder)}: is not empty; name a new folder")
    source = Project(builtin_root())
    with replacing(folder) as target:
        shutil.copytree(source.root / "tasks" / _EXAMPLE, target / "tasks" / _EXAMPLE)
        (target / "model_specs").mkdir()
        for name in source.spec_names:
            # Specs that a training run emitted, and those composed of them, point at weights that stay behind.
            if not _is_trained(source, name):
                shutil.copy(source.specs_folder / f"{name}.yaml", target / "model_specs")
        shutil.copy(_TEMPLATE, target / "benchmark.yaml")
        shutil.copy(_IGNORED, target / ".gitignore")
        (target / "results").mkdir()
    name = shown(folder)
    return [
        f"{name}: a project with the example domain tasks/{_EXAMPLE}",
        f"1. copy tasks/{_EXAMPLE} to tasks/<your domain> and put your documents and questions.jsonl in place of its own",
        "2. name it under 'domains' in benchmark.yaml; a language model goes under 'llm', but none is needed",
        f"3. domainbench --project {name} check",
        f"4. domainbench --project {name} run",
    ]


def _is_trained(project: Project, name: str) -> bool:
    spec = project.model_spec(name)
    return "training" in spec.provenance or any(
        part not in project.spec_names or _is_trained(project, part) for part in spec.parts
    )
