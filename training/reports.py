import functools
import itertools
import json
import os
import sys

import chainer_compat  # noqa: F401  (makes Chainer importable)
from chainer import computational_graph
from chainer import configuration
from chainer.training import extension
from chainer.training import extensions

from system import files


class LogReport(extensions.LogReport):
    """Chainer's LogReport, whose file is whole at any moment."""

    def __init__(self):
        super().__init__(log_name=None)

    def __call__(self, trainer):
        n = len(self.log)
        super().__call__(trainer)
        if len(self.log) > n:
            text = json.dumps(self.log, indent=4)
            files.write(os.path.join(trainer.out, 'log'),
                        lambda f: f.write(text.encode()))

    def serialize(self, serializer):
        super().serialize(serializer)
        # What other reports compute with.
        if not (isinstance(self.log, list) and all(
                isinstance(entry, dict) and 'epoch' in entry
                and all(isinstance(value, (int, float))
                        for value in entry.values())
                for entry in self.log)) or not all(
                    summary._n > 0
                    for summary in self._summary._summaries.values()):
            raise ValueError('the log is damaged')


class DumpGraph(extensions.DumpGraph):
    """Chainer's DumpGraph without state, whose file is never half written.

    A run that goes on from a snapshot in another folder dumps its graph, too.
    No picture is drawn.
    """

    def __call__(self, trainer):
        try:
            graph = computational_graph.build_computational_graph(
                [trainer.observation[self._root_name]],
                variable_style=self._variable_style,
                function_style=self._function_style).dump()
            files.write(os.path.join(trainer.out, self._filename),
                        lambda f: f.write(graph.encode()))
        finally:
            configuration.config.keep_graph_on_report = self._original_flag

    def serialize(self, serializer):
        pass


class PrintReport(extensions.PrintReport):
    """Chainer's PrintReport, whose output to a file is plain text.

    Chainer's writes an escape code before each line, to erase the progress
    bar: on a terminal that is right.
    """

    def __init__(self, entries, out=None):
        out = out or sys.stdout
        super().__init__(
            entries, out=out if out.isatty() else _PlainText(out))


class _PlainText:

    def __init__(self, out):
        self._out = out

    def write(self, text):
        self._out.write(text.replace('\033[J', ''))

    def flush(self):
        self._out.flush()


class PlotReport(extension.Extension):
    """Trainer extension that draws curves over the epochs.

    Chainer's PlotReport keeps the values that it draws in the snapshots, so
    that a run with plots cannot go on from a snapshot without. This one draws
    what :class:`~chainer.training.extensions.LogReport` has logged and has no
    state of its own.

    Args:
        entries (dict): Label of each curve by its key in the log.
        ylabel (str): Label of the vertical axis.
        filename (str): Name of the picture in the folder of the results.

    """

    # After LogReport.
    priority = extension.PRIORITY_READER - 1

    def __init__(self, entries, ylabel, filename):
        self._entries = entries
        self._ylabel = ylabel
        self._filename = filename
        self.name = f'plot_{filename}'

    def trigger(self, trainer):
        return trainer.updater.is_new_epoch

    def __call__(self, trainer):
        # Figure itself rather than pyplot: no window, whatever the backend.
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator

        log = trainer.get_extension('LogReport').log
        figure = Figure(figsize=(6, 4), dpi=120, layout='constrained')
        axes = figure.add_subplot()
        for (key, label), marker in zip(
                self._entries.items(), itertools.cycle('os^v')):
            points = [(e['epoch'], e[key]) for e in log if key in e]
            if points:
                axes.plot(*zip(*points), marker=marker, markersize=4,
                          label=label)
        axes.set_xlabel('epoch')
        axes.set_ylabel(self._ylabel)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(alpha=.3)
        if axes.has_data():
            axes.legend()
        files.write(os.path.join(trainer.out, self._filename),
                    functools.partial(figure.savefig, format='png'))
