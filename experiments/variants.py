#!/usr/bin/env python
"""Trains the recipe original with one thing done in another way.

The original's code is not at hand; what its table was made with can only be
tried. The arguments after the name are those of train_mnist.py.
"""
import argparse
import pathlib
import sys

if __name__ == '__main__':
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

import chainer_compat
import qst
import quantizers
import train_mnist
import weight_clip
from training.array_dataset import ArrayDataset


def rounded_input():
    """The pixels, too, are rounded to powers of two."""
    get_data = train_mnist.get_data

    def rounded(dataset):
        x, t = dataset.arrays
        return ArrayDataset(quantizers.Log()(x), t)

    def get_rounded(*args):
        train, evaluated = get_data(*args)
        return rounded(train), {name: rounded(dataset)
                                for name, dataset in evaluated.items()}

    train_mnist.get_data = get_rounded


def rounded_gradient():
    """The gradients of all layers are rounded to powers of two."""
    sys.argv[1:1] = ['--gradient-quantizer', 'log']


def no_mask():
    """The straight-through estimator passes every gradient."""
    qst.QSTGrad.forward = lambda self, inputs: (inputs[0].copy(),)


def clip_before():
    """The clip comes before the update."""
    weight_clip.WeightClip.timing = 'pre'


VARIANTS = {f.__name__.replace('_', '-'): f
            for f in (rounded_input, rounded_gradient, no_mask, clip_before)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, epilog='; '.join(
        f'{name}: {f.__doc__}' for name, f in VARIANTS.items()))
    parser.add_argument('variant', choices=VARIANTS)
    args, others = parser.parse_known_args()
    sys.argv[1:] = ['--recipe', 'original', *others]
    VARIANTS[args.variant]()
    train_mnist.main()


if __name__ == '__main__':
    main()
