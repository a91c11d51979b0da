"""The benchmarks by name."""

from collections.abc import Callable
from dataclasses import dataclass

from ards_ray.errors import SettingsError
from ards_ray.evaluation.attacks import Plan
from ards_ray.evaluation.benchmarks.a_okvqa import read_a_okvqa
from ards_ray.evaluation.benchmarks.arc_easy import read_arc_easy
from ards_ray.evaluation.benchmarks.boolq import read_boolq
from ards_ray.evaluation.benchmarks.files import Loaded
from ards_ray.evaluation.benchmarks.gqa_ood import gqa_reader
from ards_ray.evaluation.benchmarks.mmbench import mmbench_reader
from ards_ray.evaluation.benchmarks.mmmu import read_mmmu
from ards_ray.evaluation.benchmarks.plain import read_plain
from ards_ray.evaluation.benchmarks.scienceqa import read_scienceqa, read_scienceqa_img, read_scienceqa_text
from ards_ray.evaluation.benchmarks.seed_bench import read_seed_bench
from ards_ray.evaluation.prompts import LETTER, LETTER_CN, MMMU, PHRASE, Style
from ards_ray.evaluation.question import NotEvaluated, Question, problem_of
from ards_ray.words import nearest


@dataclass(frozen=True)
class Benchmark:
    """A benchmark: what reads its published form from a path, and how its questions are written."""

    read: Callable[[str], Loaded]
    style: Style


BENCHMARKS = {
    "scienceqa": Benchmark(read_scienceqa, LETTER),
    "scienceqa_img": Benchmark(read_scienceqa_img, LETTER),
    "scienceqa_text": Benchmark(read_scienceqa_text, LETTER),
    "seed_bench": Benchmark(read_seed_bench, LETTER),
    "mmbench": Benchmark(mmbench_reader("mmbench_dev_20230712.tsv", "MMBench_DEV_EN.tsv"), LETTER),
    "mmbench_cn": Benchmark(mmbench_reader("mmbench_dev_cn_20231003.tsv", "MMBench_DEV_CN.tsv"), LETTER_CN),
    "a_okvqa": Benchmark(read_a_okvqa, LETTER),
    "mmmu": Benchmark(read_mmmu, MMMU),
    "arc_easy": Benchmark(read_arc_easy, LETTER),
    "boolq": Benchmark(read_boolq, LETTER),
    "gqa": Benchmark(gqa_reader("testdev_balanced_questions.json"), PHRASE),
    "gqa_ood_all": Benchmark(gqa_reader("ood_testdev_all.json"), PHRASE),
    "gqa_ood_head": Benchmark(gqa_reader("ood_testdev_head.json"), PHRASE),
    "gqa_ood_tail": Benchmark(gqa_reader("ood_testdev_tail.json"), PHRASE),
    "plain": Benchmark(read_plain, LETTER),
}


def benchmark_of(name: str) -> Benchmark:
    """The benchmark of a name.

    Raises:
        SettingsError: there is none.
    """
    if name not in BENCHMARKS:
        near = nearest(name, list(BENCHMARKS))
        suggestion = f"; the nearest is {near}" if near else ""
        raise SettingsError(f"--benchmark {name}: no such benchmark{suggestion}; there are {', '.join(BENCHMARKS)}")
    return BENCHMARKS[name]


def read_questions(name: str, path: str, plan: Plan) -> Loaded:
    """The questions of a benchmark: each either one that can be evaluated as planned, or why it cannot.

    Args:
        name: Its name.
        path: File or folder, or its URL.
        plan: What is to be asked.

    Raises:
        SettingsError: the name is unknown; or, while reading, a file is missing or broken, or there is no question.
    """
    return _read(name, benchmark_of(name), path, plan)


def _read(name: str, benchmark: Benchmark, path: str, plan: Plan) -> Loaded:
    seen: set[str] = set()
    for question in benchmark.read(path):
        yield _checked(question, seen, plan)
        seen.add(question.id)
    if not seen:
        raise SettingsError(f"{path}: no questions for the benchmark {name}")


def _checked(question: Question | NotEvaluated, seen: set[str], plan: Plan) -> Question | NotEvaluated:
    if isinstance(question, NotEvaluated):
        # Half a surrogate pair, which JSON can spell, can be written nowhere else.
        return NotEvaluated(
            *(text.encode("utf-8", "backslashreplace").decode() for text in (question.id, question.error))
        )
    if question.id in seen:
        return NotEvaluated(question.id, f"id of another question: {question.id}")
    problem = problem_of(question, plan.symbol_sets, any(attack != "clean" for attack in plan.attacks))
    return question if problem is None else _checked(NotEvaluated(question.id, problem), seen, plan)
