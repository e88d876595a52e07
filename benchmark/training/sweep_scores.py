"""How good the trials of a sweep are, query by query where that can be had without searching again."""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.encoders.adapter import AdaptedEncoder, LinearMaps, open_encoder
from benchmark.encoders.dense import DenseEncoder, Encoder, open_bi_encoder, resolve_prompts
from benchmark.files import Json
from benchmark.specs import AdapterRun, CrossEncoderRun
from benchmark.training.biencoder import open_base
from benchmark.training.emit import weights_spec
from benchmark.training.job import Job
from benchmark.training.material import Material, development_quality, read_material
from benchmark.training.ranking import Deciding, deciding
from benchmark.training.ranks import Floats
from benchmark.weights import ADAPTER_FILE, folder_fingerprint


class Judge:
    """Scores trials by nDCG@10 on the development split: on written questions where there are enough, else on all.

    An adapter's or a bi-encoder's vectors are in the store when it has been trained, so that a score for each query
    costs a matrix product. A cross-encoder's training leaves its mean alone.
    """

    def __init__(self, job: Job[Any]) -> None:
        self._job = job

    def scores(self, run: Any, folder: Path, development: Json) -> Json:
        """What a trial is compared by.

        Args:
            run: Its settings.
            folder: What its training left.
            development: The fact of this name that it left.

        Returns:
            `queries`: which ones, in words; `before` and `after`: means over them; `by_query`: the scores behind
            `after`, or None; `vectors`: the fingerprint under which vectors are in the store, or None.
        """
        if isinstance(run, CrossEncoderRun):
            return {
                "queries": f"{development['queries']} {development['unit']}",
                "before": development["before"]["ndcg@10"],
                "after": development["after"]["ndcg@10"],
                "by_query": None,
                "vectors": None,
            }
        encoder = self._adapted(folder) if isinstance(run, AdapterRun) else self._tuned(run, folder)
        after = self._ndcg(encoder)
        return {
            "queries": f"{len(after)} {self._asked.words}",
            "before": float(self._before.mean()),
            "after": float(after.mean()),
            "by_query": [float(score) for score in after],
            "vectors": None if isinstance(run, AdapterRun) else encoder.fingerprint,
        }

    @cached_property
    def _material(self) -> Material:
        return read_material(self._job.domain, None, self._job.seed)

    @cached_property
    def _asked(self) -> Deciding:
        return deciding(self._material)

    @cached_property
    def _base(self) -> Encoder:
        run = self._job.run
        return (
            open_encoder(self._job.project, run.base)
            if isinstance(run, AdapterRun)
            else open_base(self._job.project, run)
        )

    @cached_property
    def _before(self) -> Floats:
        return self._ndcg(self._base)

    def _ndcg(self, encoder: Encoder) -> Floats:
        found = development_quality(self._job.domain, encoder, self._material, self._job.reporter)
        return np.asarray(found.ndcg[self._asked.rows], dtype=np.float64)

    def _adapted(self, folder: Path) -> Encoder:
        maps = LinearMaps.load(folder / ADAPTER_FILE, self._job.run.name)
        return AdaptedEncoder(self._job.run.name, "", self._base, maps)

    def _tuned(self, run: Any, folder: Path) -> Encoder:
        spec = weights_spec(self._job.with_run(run), folder)
        model = open_bi_encoder(folder, spec, run.name)
        return DenseEncoder(run.name, folder_fingerprint(spec, folder), model, resolve_prompts(spec, model))
