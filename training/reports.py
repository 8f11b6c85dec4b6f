from collections.abc import Mapping
import functools
import itertools
import json
import os
import shutil
import sys

import chainer_compat
from chainer import Variable
from chainer import computational_graph
from chainer import configuration
from chainer.training import extension
from chainer.training import extensions

from system import files
from training import priorities


# Width of the progress bar's longest line.
_PROGRESS_COLUMNS = 72


class LogReport(extensions.LogReport):
    """Chainer's LogReport, whose file is whole at any moment.

    Args:
        keys, trigger, postprocess, filename, kwargs: Those of
            :class:`chainer.training.extensions.LogReport`; with
            ``log_name=None`` there is no file.

    """

    def __init__(self, keys=None, trigger=(1, 'epoch'), postprocess=None,
                 filename=None, **kwargs):
        super().__init__(keys, trigger, postprocess, filename, **kwargs)
        # Without a name Chainer's writes nothing.
        self._name, self._log_name = self._log_name, None

    def __call__(self, trainer):
        n = len(self.log)
        super().__call__(trainer)
        if len(self.log) > n and self._name is not None:
            text = json.dumps(self.log, indent=4)
            name = self._name.format(**self.log[-1])
            files.write(os.path.join(trainer.out, name),
                        lambda f: f.write(text.encode()))

    def serialize(self, serializer):
        super().serialize(serializer)
        if not (isinstance(self.log, list)
                and all(map(self._is_sound, self.log))
                and all(summary._n > 0
                        for summary in self._summary._summaries.values())):
            raise ValueError('the log is damaged')

    def _is_sound(self, entry):
        """Tells whether other reports can compute with an entry."""
        if not isinstance(entry, dict) or self._postprocess is not None:
            # What a postprocess makes of an entry is its own affair.
            return isinstance(entry, dict)
        return 'epoch' in entry and all(
            isinstance(value, (int, float)) for value in entry.values())


class DumpGraph(extensions.DumpGraph):
    """Trainer extension that writes the graph of the first iteration.

    Chainer's DumpGraph, but without state, so that a run that goes on from a
    snapshot in another folder dumps its graph, too; its file is never half
    written, and no picture is drawn.

    Args:
        root_name, filename, variable_style, function_style, kwargs: Those of
            :class:`chainer.training.extensions.DumpGraph`.

    """

    def __call__(self, trainer):
        self.finalize()
        root = trainer.observation[self._root_name]
        if not isinstance(root, Variable):
            raise TypeError(f'{self._root_name} must be a Variable, '
                            f'got {type(root).__name__}')
        graph = computational_graph.build_computational_graph(
            [root], variable_style=self._variable_style,
            function_style=self._function_style).dump()
        files.write(os.path.join(trainer.out, self._filename),
                    lambda f: f.write(graph.encode()))

    def finalize(self):
        if self._original_flag is not None:
            configuration.config.keep_graph_on_report = self._original_flag
            self._original_flag = None

    def serialize(self, serializer):
        pass


class PrintReport(extensions.PrintReport):
    """Chainer's PrintReport, whose output to a file is plain text.

    Chainer's writes an escape code before each line, to erase the progress
    bar: on a terminal that is right.

    Args:
        entries, log_report: Those of
            :class:`chainer.training.extensions.PrintReport`.
        out (file): Text file to print to; ``None``: what ``sys.stdout`` is
            now. Chainer's takes what it was when Chainer was imported.

    """

    def __init__(self, entries, log_report='LogReport', out=None):
        out = sys.stdout if out is None else out
        is_terminal = hasattr(out, 'isatty') and out.isatty()
        super().__init__(
            entries, log_report, out if is_terminal else _PlainText(out))


class _PlainText:

    def __init__(self, out):
        self._out = out

    def write(self, text):
        self._out.write(text.replace('\033[J', ''))

    def flush(self):
        if hasattr(self._out, 'flush'):
            self._out.flush()


class PlotReport(extension.Extension):
    """Trainer extension that draws curves over the epochs.

    It does not stand in the place of Chainer's PlotReport and takes other
    arguments. Chainer's keeps the values that it draws in the snapshots, so
    that a run with plots cannot go on from a snapshot without. This one draws
    what the trainer's extension ``LogReport`` has logged and has no state of
    its own.

    Args:
        entries (dict): Label of each curve by its key in the log.
        ylabel (str): Label of the vertical axis.
        filename (str): Name of the picture in the folder of the results, a
            PNG.

    Raises:
        TypeError: If ``entries`` is no dictionary.

    """

    priority = priorities.PLOT

    def __init__(self, entries, ylabel, filename):
        if not isinstance(entries, Mapping):
            raise TypeError('entries must be a dictionary, the label of each '
                            f'curve by its key in the log, got {entries!r}')
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


def curves(n_hidden, evaluated):
    """Yields the extensions that draw the curves of a run.

    Args:
        n_hidden (int): Number of hidden layers.
        evaluated (sequence of str): Names of the sets that are evaluated,
            ``validation`` and maybe ``test``.

    """
    for value in 'loss', 'accuracy':
        entries = {f'main/{value}': 'training'}
        for name in evaluated:
            # Without images held out, those to validate on are the test's.
            label = name if 'test' in evaluated else 'test'
            entries[f'{name}/main/{value}'] = label
        yield PlotReport(entries, value, f'{value}.png')
    net = 'main/predictor'
    yield PlotReport(
        {f'{net}/sign_changes{k}': f'layer {k}'
         for k in range(1, n_hidden + 2)},
        'share of weights that changed sign', 'sign_changes.png')
    yield PlotReport(
        {f'{net}/blocked{k}': f'layer {k}' for k in range(1, n_hidden + 1)},
        'share of blocked activation gradients', 'blocked.png')


def columns(evaluated):
    """Returns the columns of the log that a run prints.

    Args:
        evaluated (sequence of str): See :func:`curves`.

    """
    return ['epoch', 'main/loss', 'validation/main/loss', 'main/accuracy',
            'validation/main/accuracy',
            *(['test/main/accuracy'] if 'test' in evaluated else []),
            'elapsed_time']


def has_progress_bar():
    """Tells whether there is a terminal that a progress bar fits on."""
    # Its lines must not be broken: it moves up by their number.
    return (sys.stdout.isatty()
            and shutil.get_terminal_size().columns >= _PROGRESS_COLUMNS)


def print_best(log):
    """Prints the test error at the best validation epoch and at the last.

    Args:
        log (list of dict): LogReport's log of a run with images held out.

    """
    best = max(log, key=lambda entry: entry['validation/main/accuracy'])
    best, last = ((entry['epoch'], 100 * (1 - entry['test/main/accuracy']))
                  for entry in (best, log[-1]))
    print(f'test error: {best[1]:.2f} % at the best validation epoch, '
          f'{best[0]}; {last[1]:.2f} % at the last, {last[0]}')
