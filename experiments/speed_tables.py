"""The tables of what benchmarks/measured/ holds: speed and exactness."""
from experiments.markdown import markdown
from experiments.runs import MEASURED, PROCESSORS, read_json


def speeds():
    """Returns the README's table: times to train and to predict."""
    training = read_json(MEASURED / 'train_speed.json')
    rows = [[text, *(f'{training[name]:.2f} s' if name else ''
                     for name in names)]
            for text, *names in (
                ('training, an epoch, 2 x 1000 units', 'this project',
                 'PyTorch, compiled, fused Adam', None, None),
                ('the same, not compiled', 'this project without Numba',
                 'PyTorch, eager', 'Chainer, written straightforwardly',
                 None))]
    for net, times in read_json(MEASURED / 'inference_speed.json').items():
        for key, text, factor, unit in (
                ('all', 'predicting 10,000 images', 1e3, 'ms'),
                ('one', 'predicting one image', 1e6, 'us')):
            rows.append([f'{text}, {net} units', *(
                f'{factor * times[name][key]:,.1f} {unit}' for name in (
                    'packed', 'PyTorch float32', 'Chainer float32',
                    'NumPy float32'))])
    return markdown(['', 'this project', 'PyTorch', 'Chainer', 'NumPy'], rows)


def processors():
    """Returns the table of seconds per epoch on each processor."""
    rows = []
    for path in sorted(PROCESSORS.glob('*/train_speed.json')):
        seconds = read_json(path)
        for title, name in (
                ('this project', 'this project'),
                ('PyTorch, compiled', 'PyTorch, compiled, fused Adam'),
                ('the matrix products alone', 'the matrix products alone')):
            one, every = seconds[f'{name}, one core'], seconds[name]
            rows.append([path.parent.name, title, f'{one:.2f}',
                         f'{every:.2f}', f'{one / every:.2f}'])
    return markdown(
        ['processor', '', 'one core', 'all cores', 'gain'], rows)


def exports():
    """Returns the table of the formats of --export."""
    rows = []
    for net, formats in read_json(MEASURED / 'export_speed.json').items():
        for ending, of in formats.items():
            n_logits = of['n'] * int(net.split('-')[-1])
            rows.append([
                net, f'`{ending}`', f'{of["classes"]} of {of["n"]:,}',
                'has none' if of['logits'] is None
                else f'{of["logits"]} of {n_logits:,}',
                f'{of["size"]:,}',
                '' if of['seconds'] is None
                else f'{1e6 * of["seconds"]:.0f} us'])
    return markdown(['net', 'format', 'classes that differ',
                     'logits that differ in a bit', 'bytes', 'one image'],
                    rows)
