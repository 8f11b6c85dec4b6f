"""Where the latent weights are: in the log, and as a picture over the epochs.

The log holds the histograms, so that neither extension has a state.
"""
import functools
import os

import chainer_compat
import chainer
from chainer.training import extension
import numpy

from system import files
from training import priorities

# Bins of [-1, 1]; what is beyond is in the first and the last one.
N_BINS = 40
EDGES = numpy.linspace(-1, 1, N_BINS + 1)
_NAMES = [f'{edge:+.2f}' for edge in EDGES[:-1]]
_PREFIX = 'main/predictor/'

PICTURE = 'latent_weights.png'


def shares(W):
    """Returns the share of values in each of ``N_BINS`` bins of [-1, 1].

    Args:
        W (numpy.ndarray): Float array that is not empty and holds no NaN. A
            value on an edge is in the upper bin, +1 in the last one.

    Returns:
        numpy.ndarray: float64 array of shape (N_BINS,).

    """
    bins = numpy.floor((W.ravel() + 1) * (N_BINS / 2))
    bins = bins.clip(0, N_BINS - 1).astype(numpy.int64)
    return numpy.bincount(bins, minlength=N_BINS) / W.size


def histogram(entry, k):
    """Returns the shares of layer k in a log's entry, or None.

    Args:
        entry (dict): LogReport's entry of an epoch.
        k (int): Number of the layer, 1 is the first.

    """
    prefix = f'{_PREFIX}weights{k}/'
    if prefix + _NAMES[0] not in entry:
        return None
    return [entry[prefix + name] for name in _NAMES]


def is_of_histogram(key):
    """Tells whether a key of the log is one of a histogram's bins."""
    return key.startswith(f'{_PREFIX}weights')


class WeightHistograms(extension.Extension):
    """Trainer extension that reports how the latent weights are distributed.

    At the end of an epoch it reports the share of each layer's latent weights
    in each of 40 bins, as ``weights1/-1.00``, ``weights1/-0.95`` and so on, by
    the bins' lower edges.

    Args:
        net (~net.MnistNet): Network, whose ``layers()`` has the weights.

    """

    priority = priorities.SIGN_CHANGES

    def __init__(self, net):
        self._net = net

    def trigger(self, trainer):
        return trainer.updater.is_new_epoch

    def __call__(self, trainer):
        for k, (linear, _) in enumerate(self._net.layers(), 1):
            W = chainer.get_device('@numpy').send(linear.W.array)
            chainer.report({f'weights{k}/{name}': share for name, share
                            in zip(_NAMES, shares(W))}, self._net)


class WeightPlot(extension.Extension):
    """Trainer extension that draws the histograms beside the flips.

    Args:
        n_layers (int): Number of the layers with weights.

    """

    priority = priorities.PLOT

    def __init__(self, n_layers):
        self._n_layers = n_layers

    def trigger(self, trainer):
        return trainer.updater.is_new_epoch

    def __call__(self, trainer):
        log = trainer.get_extension('LogReport').log
        figure = draw(log, self._n_layers)
        files.write(os.path.join(trainer.out, PICTURE),
                    functools.partial(figure.savefig, format='png'))


def draw(log, n_layers):
    """Returns the picture: for each layer its histograms, then its flips.

    Args:
        log (list of dict): LogReport's log. Epochs without histograms, of a
            run that went on with them, are left out.
        n_layers (int): Number of the layers with weights.

    Returns:
        matplotlib.figure.Figure: The picture.

    """
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    log = [entry for entry in log if histogram(entry, 1)]
    epochs = [entry['epoch'] for entry in log]
    figure = Figure(figsize=(3.2 * n_layers + 1, 5), dpi=120,
                    layout='constrained')
    above, below = figure.subplots(2, n_layers, sharex=True, squeeze=False,
                                   gridspec_kw={'height_ratios': (3, 2)})
    for k, (upper, lower) in enumerate(zip(above, below), 1):
        columns = numpy.array([histogram(entry, k) for entry in log])
        if len(log):
            image = upper.pcolormesh(
                [*(epoch - .5 for epoch in epochs), epochs[-1] + .5], EDGES,
                columns.T.clip(1e-5), norm=LogNorm(1e-5, 1), cmap='viridis')
        flips = [entry.get(f'{_PREFIX}sign_changes{k}') for entry in log]
        lower.plot(epochs, flips, marker='o', markersize=4)
        lower.set_ylim(bottom=0)
        upper.set_title(f'layer {k}')
        lower.set_xlabel('epoch')
        lower.grid(alpha=.3)
        lower.xaxis.set_major_locator(
            MaxNLocator(integer=True, min_n_ticks=1))
    above[0].set_ylabel('latent weight')
    below[0].set_ylabel('share that changed sign')
    if len(log):
        figure.colorbar(image, ax=above[-1], label='share of the weights')
    return figure


def extensions(net, has_plot):
    """Yields the extensions of ``--inside``.

    Args:
        net (~net.MnistNet): The network.
        has_plot (bool): Whether the picture is drawn.

    """
    yield WeightHistograms(net)
    if has_plot:
        yield WeightPlot(len(net.layers()))
