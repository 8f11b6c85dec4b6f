import functools
import os
import warnings

import numpy

from system import files

# Pictures of each kind that are drawn, at most.
_MAX_MISTAKES = 60
_MAX_UNITS = 100

# Times that an image's longer side is its shorter one, at most: others would
# be lines.
_MAX_ASPECT = 8

# Classes of a confusion matrix whose numbers are written, at most, and its
# inches: of a class, and of the smallest and the largest matrix.
_MAX_NUMBERED = 100
_CELL, _SMALLEST, _LARGEST = .3, 4.6, 24

# Letters of a name that are written beside a matrix, and above a picture.
_MAX_NAME, _MAX_TITLE = 24, 16


def draw(folder, description, images, labels, probabilities, weights):
    """Draws what a net does right and wrong, and what its first layer sees.

    Writes ``confusion.png`` and, unless images are mere lines,
    ``mistakes.png`` and ``first_layer.png``.

    Args:
        folder (str): Existing folder.
        description (Description): What the images are.
        images (numpy.ndarray): uint8 pixels of shape (N, inputs).
        labels (numpy.ndarray): Classes of shape (N,).
        probabilities (numpy.ndarray): Array of shape (N, classes).
        weights (numpy.ndarray): First layer's +-1 weights, (units, inputs),
            or (channels, 1, height, width) of a convolution.

    Returns:
        list of str: Paths of the pictures.

    """
    shape, names = description.shape, description.classes
    figures = {'confusion.png': _confusion(names, labels, probabilities)}
    if max(shape) <= _MAX_ASPECT * min(shape):
        figures['mistakes.png'] = _mistakes(
            names, images.reshape(-1, *shape), labels, probabilities)
        figures['first_layer.png'] = _first_layer(
            weights.reshape(-1, *(weights.shape[2:] or shape)))
    paths = []
    for name, figure in figures.items():
        paths.append(os.path.join(folder, name))
        with warnings.catch_warnings():
            # A font may lack letters of a name: a box takes their place.
            warnings.filterwarnings('ignore', 'Glyph .* missing')
            files.write(paths[-1],
                        functools.partial(figure.savefig, format='png'))
    return paths


def _figure(width, height):
    # Figure itself rather than pyplot: no window, whatever the backend.
    from matplotlib.figure import Figure
    return Figure(figsize=(width, height), dpi=120, layout='constrained')


def _short(name, limit):
    """Returns a name of at most so many letters, safe from Matplotlib."""
    if len(name) > limit:
        name = name[:limit - 1] + '…'
    return name.replace('$', r'\$')  # $x$ is a formula.


def _confusion(names, labels, probabilities):
    n = len(names)
    predicted = probabilities.argmax(axis=1)
    counts = numpy.zeros((n, n), int)
    numpy.add.at(counts, (labels, predicted), 1)
    wrong = counts.sum() - numpy.trace(counts)

    longest = min(_MAX_NAME, max(map(len, names)))
    inches = min(max(_SMALLEST, (_CELL if n > 10 else .5) * n), _LARGEST)
    # Letters of a name stand on end where a column has no room for them.
    on_end = longest > 1 and longest * .09 > inches / n
    size = 9 if n <= 62 else max(3, 9 * 62 / n)
    beside = .09 * size / 9 * longest
    figure = _figure(inches + .9 + beside,
                     inches + 1 + (beside if on_end else 0))
    axes = figure.add_subplot()
    # Shades are those of the mistakes, which the diagonal would drown.
    shades = counts.astype(float)
    numpy.fill_diagonal(shades, 0)
    axes.imshow(shades, cmap='Reds', vmin=0, vmax=max(1, 1.3 * shades.max()))
    for i, j in numpy.ndindex(n, n) if n <= _MAX_NUMBERED else ():
        if n <= 20 or counts[i, j]:
            # Three digits fill a cell of many; the diagonal may have more.
            digits = len(str(counts[i, j]))
            axes.text(j, i, counts[i, j] or '·', ha='center', va='center',
                      fontsize=(9 if n <= 20 else 8 if digits < 3 else
                                18 / digits) * size / 9,
                      fontweight='bold' if i == j else None,
                      color='black' if counts[i, j] else 'silver')
    texts = [_short(name, _MAX_NAME) for name in names]
    axes.set_xticks(range(n), texts, fontsize=size,
                    rotation=90 if on_end else 0)
    axes.set_yticks(range(n), texts, fontsize=size)
    axes.set_xlabel('predicted class')
    axes.set_ylabel('true class')
    axes.set_title(f'{wrong:,} of {len(labels):,} images wrong '
                   f'({100 * wrong / max(1, len(labels)):.2f} %)')
    return figure


def _mistakes(names, images, labels, probabilities):
    predicted = probabilities.argmax(axis=1)
    wrong = numpy.flatnonzero(predicted != labels)
    confidence = probabilities.max(axis=1)
    # The most confident mistakes first.
    shown = wrong[numpy.argsort(-confidence[wrong], kind='stable')]
    shown = shown[:_MAX_MISTAKES]

    # Names of some length stand one above the other.
    texts = [_short(name, _MAX_TITLE) for name in names]
    longest = max(map(len, texts))
    arrow = ' → ' if longest <= 3 else '\n→ '
    n_columns = 10 if longest <= 9 else 7
    n_rows = max(1, -(-len(shown) // n_columns))
    aspect = min(max(images.shape[1] / images.shape[2], .4), 3)
    row = 10 / n_columns * .85 * aspect + (.5 if arrow == ' → ' else .65)
    figure = _figure(10, row * n_rows + .6)
    figure.suptitle(
        f'{len(shown)} of {len(wrong):,} mistakes, the most confident first: '
        'true class → predicted one, probabilities of both')
    for k, i in enumerate(shown):
        axes = figure.add_subplot(n_rows, n_columns, k + 1)
        axes.imshow(images[i], cmap='gray_r', vmin=0, vmax=255)
        axes.set_axis_off()
        axes.set_title(
            f'{texts[labels[i]]}{arrow}{texts[predicted[i]]}\n'
            f'{100 * probabilities[i, labels[i]]:.0f} / '
            f'{100 * confidence[i]:.0f} %', fontsize=8)
    return figure


def _first_layer(weights):
    n = min(len(weights), _MAX_UNITS)
    n_columns = min(10, n)
    n_rows = -(-n // n_columns)
    height, width = weights.shape[1:]
    # One picture of all, with lines between the units.
    mosaic = numpy.full((n_rows * (height + 2) + 2,
                         n_columns * (width + 2) + 2), .5)
    for k in range(n):
        row, column = divmod(k, n_columns)
        top, left = 2 + (height + 2) * row, 2 + (width + 2) * column
        mosaic[top:top + height, left:left + width] = weights[k] > 0
    scale = 10 / max(mosaic.shape)
    figure = _figure(max(6, scale * mosaic.shape[1]),
                     scale * mosaic.shape[0] + .4)
    axes = figure.add_subplot()
    axes.imshow(mosaic, cmap='gray', vmin=0, vmax=1, interpolation='nearest')
    axes.set_axis_off()
    axes.set_title(f'weights of the first layer, units 1 to {n} of '
                   f'{len(weights):,}: white +1, black -1')
    return figure
