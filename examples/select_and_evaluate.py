"""Select mixtures and evaluate a model through the Python API, on generated inputs: a minute or two on a CPU.

    python examples/select_and_evaluate.py [FOLDER]

The model is tiny and random, so its numbers mean nothing. With your own corpus, model and benchmark the calls are the
same.
"""

import sys
from pathlib import Path

from ards_ray import EvaluationSettings, Settings, evaluate, select
from ards_ray.config import CorpusSettings, MixtureSettings, ProxySettings, SubgroupSettings
from ards_ray.demo.answering import write_benchmark
from ards_ray.demo.checkpoint import write_checkpoint
from ards_ray.demo.corpus import write_corpus
from ards_ray.signals.loop import loop_workers


def write_inputs(folder: Path) -> tuple[Path, Path, Path, Path]:
    """Write a LLaVA corpus of 200 conversations with pictures, a LLaVA checkpoint and multiple-choice questions.

    Once: pictures that are written again have another time, and a run refuses pictures that changed.

    Returns:
        The corpus file, its image folder, the checkpoint, and the folder of the questions.
    """
    corpus, images, model, questions = (folder / name for name in ("corpus.json", "images", "checkpoint", "questions"))
    if not questions.exists():
        write_corpus(folder, conversations=200)
        write_checkpoint(model, corpus)
        write_benchmark(questions, questions=20)
    return corpus, images, model, questions


def main(folder: Path) -> None:
    """Write inputs, runs and results below a folder; a second call skips what is finished."""
    corpus, images, model, questions = write_inputs(folder / "inputs")

    # Two methods in one run. The loop does all work in this process; leave `open_workers` out to use Ray.
    selected = select(
        Settings(
            corpus=CorpusSettings(files=(str(corpus),), images=str(images)),
            proxy=ProxySettings(model=str(model)),
            methods=("ards", "random"),
            # Few and small subgroups, as befits a small corpus.
            subgroups=SubgroupSettings(per_format=2, members=5),
            mixture=MixtureSettings(budget=0.3),
            output=str(folder / "selection"),
        ),
        open_workers=loop_workers,
    )
    for name, mixture in selected.methods.items():
        print(f"{name}: {mixture.url}")
        print(f"  formats: {mixture.summary['mixture']['formats']}")

    # Robust accuracy of a model. Fine-tune yours on a mixture first; here it is the proxy itself.
    evaluated = evaluate(
        EvaluationSettings(
            model=str(model),
            benchmarks={"plain": str(questions)},
            images={"plain": str(questions / "images")},
            # A random model writes no letter, so its letters are ranked; it has no tokens for the symbols Q, W, E, ….
            score="letters",
            attacks=("clean", "permutation"),
            output=str(folder / "evaluation"),
        )
    )
    for result in evaluated.results:
        accuracies = ", ".join(f"{attack} {value:.1f}" for attack, value in result.metrics.accuracy.items())
        print(f"{result.benchmark}: {accuracies} (percent of {result.metrics.questions} questions)")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/example"))
