#!/usr/bin/env bash
# Build the wheel, install it into an environment of its own, make a project from it and check that project.
# The heavy dependencies are borrowed from the environment whose python is given:
#     bash scripts/check_wheel.sh .venv/bin/python
set -euo pipefail
python=$1
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m pip wheel -q --no-deps -w "$work" "$root"
"$python" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install -q --no-deps "$work"/domainbench-*.whl
borrowed=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
# A .pth file comes after the environment's own folder, so the wheel's `benchmark` is the one that is found. The
# editable install of the lender is a .pth itself, which a borrowed folder does not run.
echo "$borrowed" > "$("$work/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/borrowed.pth"
cd "$work"
found=$("$work/venv/bin/python" -c 'import benchmark; print(benchmark.__file__)')
case "$found" in "$work"/*) ;; *) echo "error: benchmark comes from $found, not from the wheel"; exit 1 ;; esac
"$work/venv/bin/domainbench" --version
"$work/venv/bin/domainbench" init project
"$work/venv/bin/domainbench" --project project check
echo "the wheel works by itself"
