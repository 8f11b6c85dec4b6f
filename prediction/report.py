import functools
import os

import numpy

from system import files

# Pictures of each kind that are drawn, at most.
_MAX_MISTAKES = 60
_MAX_UNITS = 100


def draw(folder, images, labels, probabilities, weights):
    """Draws what a net does right and wrong, and what its first layer sees.

    Writes ``confusion.png``, ``mistakes.png`` and, if a unit sees a square
    picture, ``first_layer.png``.

    Args:
        folder (str): Existing folder.
        images (numpy.ndarray): uint8 pixels of shape (N, inputs).
        labels (numpy.ndarray): Classes of shape (N,).
        probabilities (numpy.ndarray): Array of shape (N, classes).
        weights (numpy.ndarray): First layer's +-1 weights, (units, inputs).

    Returns:
        list of str: Paths of the pictures.

    """
    side = round(images.shape[1] ** .5)
    figures = {'confusion.png': _confusion(labels, probabilities)}
    if side * side == images.shape[1]:
        figures['mistakes.png'] = _mistakes(
            images.reshape(-1, side, side), labels, probabilities)
        figures['first_layer.png'] = _first_layer(
            weights.reshape(-1, side, side))
    paths = []
    for name, figure in figures.items():
        paths.append(os.path.join(folder, name))
        files.write(paths[-1],
                    functools.partial(figure.savefig, format='png'))
    return paths


def _figure(width, height):
    # Figure itself rather than pyplot: no window, whatever the backend.
    from matplotlib.figure import Figure
    return Figure(figsize=(width, height), dpi=120, layout='constrained')


def _confusion(labels, probabilities):
    n = probabilities.shape[1]
    predicted = probabilities.argmax(axis=1)
    counts = numpy.zeros((n, n), int)
    numpy.add.at(counts, (labels, predicted), 1)
    wrong = counts.sum() - numpy.trace(counts)

    figure = _figure(6.4, 6)
    axes = figure.add_subplot()
    # Shades are those of the mistakes, which the diagonal would drown.
    shades = counts.astype(float)
    numpy.fill_diagonal(shades, 0)
    axes.imshow(shades, cmap='Reds', vmin=0, vmax=max(1, 1.3 * shades.max()))
    for i in range(n):
        for j in range(n):
            axes.text(j, i, counts[i, j] or '·', ha='center', va='center',
                      fontsize=9, fontweight='bold' if i == j else None,
                      color='black' if counts[i, j] else 'silver')
    axes.set_xticks(range(n))
    axes.set_yticks(range(n))
    axes.set_xlabel('predicted class')
    axes.set_ylabel('true class')
    axes.set_title(f'{wrong:,} of {len(labels):,} images wrong '
                   f'({100 * wrong / max(1, len(labels)):.2f} %)')
    return figure


def _mistakes(images, labels, probabilities):
    predicted = probabilities.argmax(axis=1)
    wrong = numpy.flatnonzero(predicted != labels)
    confidence = probabilities.max(axis=1)
    # The most confident mistakes first.
    shown = wrong[numpy.argsort(-confidence[wrong], kind='stable')]
    shown = shown[:_MAX_MISTAKES]

    n_columns = 10
    n_rows = max(1, -(-len(shown) // n_columns))
    figure = _figure(10, 1.35 * n_rows + .6)
    figure.suptitle(
        f'{len(shown)} of {len(wrong):,} mistakes, the most confident first: '
        'true class → predicted one, probabilities of both')
    for k, i in enumerate(shown):
        axes = figure.add_subplot(n_rows, n_columns, k + 1)
        axes.imshow(images[i], cmap='gray_r', vmin=0, vmax=255)
        axes.set_axis_off()
        axes.set_title(
            f'{labels[i]} → {predicted[i]}\n'
            f'{100 * probabilities[i, labels[i]]:.0f} / '
            f'{100 * confidence[i]:.0f} %', fontsize=8)
    return figure


def _first_layer(weights):
    n = min(len(weights), _MAX_UNITS)
    n_columns = min(10, n)
    n_rows = -(-n // n_columns)
    side = weights.shape[1]
    # One picture of all, with lines between the units.
    mosaic = numpy.full((n_rows * (side + 2) + 2, n_columns * (side + 2) + 2),
                        .5)
    for k in range(n):
        top, left = (2 + (side + 2) * i for i in divmod(k, n_columns))
        mosaic[top:top + side, left:left + side] = weights[k] > 0
    figure = _figure(10, 10 * n_rows / n_columns + .4)
    axes = figure.add_subplot()
    axes.imshow(mosaic, cmap='gray', vmin=0, vmax=1, interpolation='nearest')
    axes.set_axis_off()
    axes.set_title(f'weights of the first layer, units 1 to {n} of '
                   f'{len(weights):,}: white +1, black -1')
    return figure
