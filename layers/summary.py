def table(sizes, weight_bits=1, activation_bits=1):
    """Returns a table of a quantized multi-layer perceptron's layers.

    In the form that users of Larq know: for each layer its output, the number
    of its parameters of 1 and of 32 bits, their memory, and its multiply-
    accumulates with binary and with real inputs, for one image; then totals,
    beside the same net in float32. A linear layer has weights W of 1 bit, or
    of as many as there are, and a 32-bit bias b, batch normalization 32-bit
    gamma, beta, mean and variance. The first layer's inputs are pixels of 8
    bits, so that its multiply-accumulates are real ones, as in Larq.

    Args:
        sizes (list of int): Size of an input vector, then the number of units
            of each layer.
        weight_bits (int): Bits of a weight.
        activation_bits (int): Bits of a hidden activation; a
            multiply-accumulate is binary where both are 1.

    Returns:
        str: Lines of about 80 characters.

    """
    header = [('Layer', 'Input', 'Outputs', f'# {weight_bits}-bit',
               '# 32-bit', 'Memory',
               'Binary', 'Real'),
              ('', 'bits', '', 'x 1', 'x 1', '(kB)', 'MACs', 'MACs')]
    rows = []
    n_binary = n_real = macs_binary = macs_real = n_trained = 0
    for i, (n_in, n_out) in enumerate(zip(sizes, sizes[1:]), 1):
        macs = n_in * n_out
        is_real = i == 1 or weight_bits * activation_bits > 1
        rows.append((f'l{i}', str(8 if i == 1 else activation_bits),
                     f'(-1, {n_out})', macs, n_out,
                     _kilobytes(weight_bits * macs, n_out),
                     0 if is_real else macs, macs if is_real else 0))
        rows.append((f'bn{i}', '-', f'(-1, {n_out})', 0, 4 * n_out,
                     _kilobytes(0, 4 * n_out), 0, 0))
        n_binary += macs
        n_real += 5 * n_out
        n_trained += macs + 3 * n_out
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
