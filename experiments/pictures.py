"""The pictures of results in docs/pictures/, drawn from the logs."""
import statistics

import numpy

from experiments import overview
from experiments.runs import (
    LOGS, MEASURED, PAPER, error, read_json, read_log, read_published,
    read_runs)
from prediction.packed_net import PackedNet


def draw_all(folder):
    """Draws all pictures into a folder.

    Args:
        folder (~pathlib.Path): The folder, which must be there.

    """
    draw_runs('binarized', folder / 'binarized.png')
    draw_runs('original', folder / 'original.png', read_published('original'))
    draw_long_runs(folder / 'paper.png')
    for theme in 'light', 'dark':
        draw_overview(folder / f'overview_{theme}.png', theme)


def draw_runs(name, path, original=None):
    """Draws loss and accuracy over the epochs: each run, and their mean."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    logs = read_runs(name)
    epochs = range(1, len(logs[0]) + 1)
    figure = Figure(figsize=(10, 4), dpi=120, layout='constrained')
    for axes, value in zip(figure.subplots(1, 2), ('loss', 'accuracy')):
        for column, label, color in (
                (f'main/{value}', 'training', 'tab:blue'),
                (f'validation/main/{value}', 'test', 'tab:orange')):
            runs = [[e[column] for e in log] for log in logs]
            for run in runs:
                axes.plot(epochs, run, color=color, alpha=.25, linewidth=1)
            axes.plot(epochs, [statistics.mean(v) for v in zip(*runs)],
                      color=color, linewidth=2, label=f'{label}, mean')
            if original:
                axes.plot(epochs, [e[column] for e in original], 'o',
                          color=color, markeredgecolor='black', markersize=4,
                          label=f"{label}, the original's README")
        axes.set_xlabel('epoch')
        axes.set_ylabel(value)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=.3)
        axes.legend()
    figure.suptitle(f'{name}: {len(logs)} runs, one seed each')
    figure.savefig(path)


def draw_long_runs(path):
    """Draws the errors of the paper's two experiments over the epochs."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5 * len(PAPER), 4), dpi=120,
                    layout='constrained')
    for axes, (name, (_, paper)) in zip(figure.subplots(1, len(PAPER)),
                                        PAPER.items()):
        log = read_log(LOGS / f'{name}.json')
        epochs = [e['epoch'] for e in log]
        for label in 'validation', 'test':
            axes.plot(epochs, [error(e, label) for e in log], label=label)
        axes.axhline(paper, color='black', linestyle=':',
                     label=f"the paper's test error, {paper:.2f} %")
        axes.set_ylim(.8, 4)
        axes.set_xlabel('epoch')
        axes.set_ylabel('error in %')
        axes.set_title(name)
        axes.grid(alpha=.3)
        axes.legend()
    figure.savefig(path)


def draw_overview(path, theme):
    """Draws the picture that the README opens with."""
    seconds = read_json(MEASURED / 'train_speed.json')
    inference = read_json(MEASURED / 'inference_speed.json')['2 x 1000']
    sizes = [784, 1000, 1000, 10]
    net = PackedNet.from_arrays({
        f'l{i}/W': numpy.ones((n_out, n_in), numpy.float32)
        for i, (n_in, n_out) in enumerate(zip(sizes, sizes[1:]), 1)})
    overview.draw(
        path, theme, read_runs('original'), read_published('original'),
        {name: seconds[name] for name in (
            'this project', 'PyTorch, compiled, fused Adam',
            'PyTorch, eager', 'Chainer, written straightforwardly')},
        {name.replace('packed', 'this project, packed'): 10 / times['all']
         for name, times in inference.items()},
        {'this project, packed': net.nbytes / 1000,
         'float32': net.float32_nbytes / 1000})
