import math

from layers.blocks import KSIZE


def table(sizes, weight_bits=1, activation_bits=1, image_shape=None,
          pool_sizes=()):
    """Returns a table of a quantized net's layers.

    In the form that users of Larq know: for each layer its output, the number
    of its parameters of 1 and of 32 bits, their memory, and its multiply-
    accumulates with binary and with real inputs, for one image; then totals,
    beside the same net in float32. A linear layer has weights W of 1 bit, or
    of as many as there are, and a 32-bit bias b, batch normalization 32-bit
    gamma, beta, mean and variance. The first layer's inputs are pixels of 8
    bits, so that its multiply-accumulates are real ones, as in Larq. Those of
    a convolution are counted at the edges of an image as elsewhere.

    Args:
        sizes (list of int): Size of an input vector, then the number of units
            or channels of each layer.
        weight_bits (int): Bits of a weight.
        activation_bits (int): Bits of a hidden activation; a
            multiply-accumulate is binary where both are 1.
        image_shape (tuple of int): Height and width of an image, for a net
            with convolutions.
        pool_sizes (list of int): Height and width of the pooling's window
            behind each convolution, 1 where there is none. The convolutions
            are the first layers, of 3 x 3 pixels and without a stride.

    Returns:
        str: Lines of about 80 characters.

    """
    header = [('Layer', 'Input', 'Outputs', f'# {weight_bits}-bit',
               '# 32-bit', 'Memory',
               'Binary', 'Real'),
              ('', 'bits', '', 'x 1', 'x 1', '(kB)', 'MACs', 'MACs')]
    rows = []
    n_binary = n_real = macs_binary = macs_real = n_trained = 0
    shapes = _shapes(sizes, image_shape, pool_sizes)
    for i, (n_weights, shape, pooled) in enumerate(shapes, 1):
        n_out, *pixels = shape
        macs = n_weights * math.prod(pixels)
        is_real = i == 1 or weight_bits * activation_bits > 1
        rows.append((f'l{i}', str(8 if i == 1 else activation_bits),
                     _shape(shape), n_weights, n_out,
                     _kilobytes(weight_bits * n_weights, n_out),
                     0 if is_real else macs, macs if is_real else 0))
        if pooled != shape:
            rows.append((f'pool{i}', '-', _shape(pooled), 0, 0,
                         _kilobytes(0, 0), 0, 0))
        rows.append((f'bn{i}', '-', _shape(pooled), 0, 4 * n_out,
                     _kilobytes(0, 4 * n_out), 0, 0))
        n_binary += n_weights
        n_real += 5 * n_out
        n_trained += n_weights + 3 * n_out
        if is_real:
            macs_real += macs
        else:
            macs_binary += macs
    total = ('Total', '', '', n_binary, n_real,
             _kilobytes(weight_bits * n_binary, n_real),
             macs_binary, macs_real)

    n = n_binary + n_real
    size = weight_bits * n_binary / 8 + 4 * n_real
    totals = [
        ('Total params', f'{n:,}'),
        ('Trainable params', f'{n_trained:,}'),
        ('Non-trainable params', f'{n - n_trained:,}'),
        ('Model size', f'{size / 1000:,.2f} kB'),
        ('Float-32 equivalent', f'{4 * n / 1000:,.2f} kB'),
        ('Compression ratio of memory', f'{size / (4 * n):.4f}'),
        ('Number of MACs', f'{macs_binary + macs_real:,}'),
        ('Ratio of MACs that are binary',
         f'{macs_binary / (macs_binary + macs_real):.4f}'),
    ]
    return '\n'.join([
        *_box('summary', header, rows, total), '',
        *_box('totals', [], totals, None)])


def _shapes(sizes, image_shape, pool_sizes):
    """Yields weights, shape and shape behind the pooling of each layer."""
    n_in, image = 1, image_shape
    for n_out, pool_size in zip(sizes[1:], pool_sizes):
        pooled = [n // pool_size for n in image]
        yield KSIZE ** 2 * n_in * n_out, (n_out, *image), (n_out, *pooled)
        n_in, image = n_out, pooled
    n_in = n_in * math.prod(image) if pool_sizes else sizes[0]
    for n_out in sizes[1 + len(pool_sizes):]:
        yield n_in * n_out, (n_out,), (n_out,)
        n_in = n_out


def _shape(shape):
    return '(-1, {})'.format(', '.join(map(str, shape)))


def _kilobytes(n_bits, n_real):
    return f'{(n_bits / 8 + 4 * n_real) / 1000:,.2f}'


def _box(title, header, rows, total):
    """Returns the lines of a table; numbers and all but the first column are
    set to the right."""
    lines = [[f'{cell:,}' if isinstance(cell, int) else cell for cell in row]
             for row in [*header, *rows, *([total] if total else [])]]
    widths = [max(map(len, column)) for column in zip(*lines)]
    texts = ['  '.join([line[0].ljust(widths[0]), *(
        cell.rjust(width) for cell, width in zip(line[1:], widths[1:]))])
        for line in lines]
    rule = '+' + '-' * (len(texts[0]) + 2) + '+'
    texts = [f'| {text} |' for text in texts]
    top = '+' + f'{title}'.ljust(len(rule) - 2, '-') + '+'
    n_header = len(header)
    out = [top, *texts[:n_header]]
    if n_header:
        out.append(rule)
    out += texts[n_header:n_header + len(rows)]
    if total:
        out += [rule, texts[-1]]
    return [*out, rule]
