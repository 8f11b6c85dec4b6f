"""Argument types that the benchmarks share."""
import argparse
import os


def output_file(path):
    """Returns the path of a file, if it can be written.

    What a benchmark has measured in an hour is not lost to a mistyped folder.
    """
    folder = os.path.dirname(path) or '.'
    if os.path.isdir(path) or not os.access(folder, os.W_OK | os.X_OK):
        raise argparse.ArgumentTypeError(f'cannot write {path}')
    return path
