"""The configuration files as types: domain.yaml, model_specs/*.yaml, benchmark.yaml.

Unknown keys are errors with a "did you mean"; every mistake of a file is told at once, with the file's name.
"""

from benchmark.specs.answers import AnswersSpec as AnswersSpec
from benchmark.specs.answers import JudgeSpec as JudgeSpec
from benchmark.specs.base import Strict as Strict
from benchmark.specs.base import parse_spec as parse_spec
from benchmark.specs.base import read_spec as read_spec
from benchmark.specs.benchmark import BenchmarkSpec as BenchmarkSpec
from benchmark.specs.domains import Chunking as Chunking
from benchmark.specs.domains import DomainSpec as DomainSpec
from benchmark.specs.domains import RerankingTask as RerankingTask
from benchmark.specs.finetune import AdapterRun as AdapterRun
from benchmark.specs.finetune import AdapterSettings as AdapterSettings
from benchmark.specs.finetune import BiEncoderRun as BiEncoderRun
from benchmark.specs.finetune import CrossEncoderRun as CrossEncoderRun
from benchmark.specs.finetune import FinetuneSpec as FinetuneSpec
from benchmark.specs.finetune import HybridRun as HybridRun
from benchmark.specs.finetune import Run as Run
from benchmark.specs.finetune import WeightsRun as WeightsRun
from benchmark.specs.generate import RULES as RULES
from benchmark.specs.generate import DatasetSource as DatasetSource
from benchmark.specs.generate import Filters as Filters
from benchmark.specs.generate import GenerateSpec as GenerateSpec
from benchmark.specs.generate import Mix as Mix
from benchmark.specs.generate import Negatives as Negatives
from benchmark.specs.generate import PairScores as PairScores
from benchmark.specs.generate import PromptSource as PromptSource
from benchmark.specs.generate import Pseudo as Pseudo
from benchmark.specs.generate import QuestionType as QuestionType
from benchmark.specs.generate import Rule as Rule
from benchmark.specs.generate import Source as Source
from benchmark.specs.llm import Budget as Budget
from benchmark.specs.llm import Endpoint as Endpoint
from benchmark.specs.llm import LLMSpec as LLMSpec
from benchmark.specs.llm import LocalModel as LocalModel
from benchmark.specs.llm import Remote as Remote
from benchmark.specs.models import ApiSettings as ApiSettings
from benchmark.specs.models import BM25Settings as BM25Settings
from benchmark.specs.models import ModelSpec as ModelSpec
from benchmark.specs.models import Prompts as Prompts
