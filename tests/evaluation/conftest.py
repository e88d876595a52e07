"""The tiny models of other kinds, as the tests of the encoders have them."""

import importlib.util
from pathlib import Path

_PATH = Path(__file__).resolve().parent.parent / "encoders" / "conftest.py"
_SPEC = importlib.util.spec_from_file_location("encoder_fixtures", _PATH)
_FIXTURES = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_FIXTURES)
sparse_model, late_model = _FIXTURES.sparse_model, _FIXTURES.late_model
splade, colbert = _FIXTURES.splade, _FIXTURES.colbert
