"""The tables of speed and exactness, of benchmarks/measured/ and the logs."""
from experiments.markdown import markdown
from experiments.plan import GROUPS
from experiments.runs import MEASURED, PROCESSORS, read_json, read_runs


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


def durations():
    """Returns the table of the time that each group of experiments takes.

    Other programs shared the cores of some runs: of each experiment it is the
    time of the fastest, for all of them.
    """
    rows, seen = [], set()
    for group, experiments in GROUPS.items():
        n, minutes = 0, 0
        for name in experiments.keys() - seen:
            logs = read_runs(name)
            fastest = min(log[-1]['elapsed_time'] for log in logs)
            n += len(logs)
            minutes += fastest * len(logs) / 60 / (
                1 if experiments[name].alone else 2)
        seen |= experiments.keys()
        rows.append((group, n, minutes))
    rows.append(('all', *(sum(row[k] for row in rows) for k in (1, 2))))
    return markdown(
        ['', 'runs', 'minutes on two cores'],
        [[f'`{group}`', str(n), f'{minutes:.0f}']
         for group, n, minutes in rows])
