"""Order in which the trainer's extensions act after an iteration.

The highest comes first; of one priority, the one that was added first.
Chainer's own writers of values, such as evaluators, are at PRIORITY_WRITER,
its readers, such as LogReport and PrintReport, at PRIORITY_READER.
"""
from chainer.training.extension import (
    PRIORITY_EDITOR, PRIORITY_READER, PRIORITY_WRITER)

# Before the evaluation.
POPULATION_STATISTICS = PRIORITY_WRITER + 50

# Before LogReport, whose epoch these are of.
SIGN_CHANGES = STEP_SIZE = PRIORITY_WRITER

# After the evaluation, before the log and the snapshot.
DIVERGENCE = PRIORITY_EDITOR + 50
SAME_PARAMETERS = PRIORITY_EDITOR

# After LogReport.
PLOT = PRIORITY_READER - 1

# The snapshot holds the state of all others.
RANDOM_STATE = 0
SNAPSHOT = -100

# After everything else.
STOP = -1000
