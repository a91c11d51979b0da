"""Lets torchvision, of which there is a build for CUDA alone here, be imported beside a torch for CPUs.

vLLM imports it, in its own processes too. Nothing here calls the operators that are declared.
"""

import sys
from importlib.abc import MetaPathFinder

OPERATORS = ("nms(Tensor dets, Tensor scores, float threshold) -> Tensor",
             "qnms(Tensor dets, Tensor scores, float threshold) -> Tensor")  # fmt: skip
kept = []


class DeclaresOperators(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "torchvision" and not kept:
            import torch

            kept.append(torch.library.Library("torchvision", "DEF"))
            for operator in OPERATORS:
                kept[0].define(operator)


sys.meta_path.insert(0, DeclaresOperators())
