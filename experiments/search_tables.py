"""The tables of the short runs by which recipes' settings were chosen."""
from experiments.markdown import markdown
from experiments.runs import LOGS, best, error, read_log

# Flags beside --recipe paper, by the files in logs/search/.
PAPER = {
    'dropout_2_4': '-u 1024 -e 30 --input-dropout .2 --dropout .4',
    'dropout_2_2': '-u 1024 -e 30 --input-dropout .2 --dropout .2',
    'dropout_2_0': '-u 1024 -e 30 --input-dropout .2 --dropout 0',
    'dropout_1_1': '-u 1024 -e 30 --input-dropout .1 --dropout .1',
    'batch_200': '-u 1024 -e 30 --input-dropout .1 --dropout .1 -b 200',
    'two_layers': '--layers 2 -u 1448 -e 30 --input-dropout .1 --dropout .1',
    'long_dropout_15_3': '-e 92 --alpha .001 --final-alpha 4e-6 '
    '--input-dropout .15 --dropout .3',
    # Stopped before their last epochs.
    'long_dropout_2_2': '-e 215 --alpha .0005 --final-alpha 4e-6 '
    '--input-dropout .2 --dropout .2',
    'long_dropout_2_4': '-e 140 --alpha .0003 --final-alpha 3e-6 '
    '--input-dropout .2 --dropout .4',
}


# Flags beside --recipe conv, with 10,000 images held out, by data set.
_RUNNING = '--channels 16 -e 8 --evaluation running '
_NORMAL = f'{_RUNNING}--initial-weight normal --step-scale none '
CONVOLUTIONS = {
    'Fashion-MNIST': {
        'conv_constant': f'{_NORMAL}--alpha .001 --final-alpha .001',
        'conv_decay': f'{_NORMAL}--alpha .001 --final-alpha 1e-5',
        'conv_hinge': f'{_NORMAL}--alpha .001 --final-alpha 1e-5 --loss hinge',
        'conv_clip': f'{_NORMAL}--alpha .001 --final-alpha 1e-5 '
        '--clip weights',
        'conv_alpha_4': f'{_NORMAL}--alpha .004 --final-alpha 1e-5',
        'conv_uniform': f'{_RUNNING}--alpha .001 --final-alpha 1e-5',
        'conv_uniform_clip': f'{_RUNNING}--alpha .001 --final-alpha 1e-5 '
        '--clip weights',
        'conv_uniform_hinge': f'{_RUNNING}--alpha .001 --final-alpha 1e-5 '
        '--clip weights --loss hinge',
        'conv_uniform_3': f'{_RUNNING}--alpha .003 --final-alpha 1e-5',
        'conv_symmetric_3': f'{_RUNNING}--alpha .003 --final-alpha 1e-5 '
        '--input-range symmetric',
        'conv_uniform_10': _RUNNING.strip(),
        'conv_uniform_30': f'{_RUNNING}--alpha .03',
        'conv_32': '-e 12 --evaluation running --alpha .003',
        'conv_population': '--channels 16 -e 8',
        'conv_dropout': '--channels 16 -e 8 --dropout .1',
    },
    'MNIST': {
        'conv_mnist_running': _RUNNING.strip(),
        'conv_mnist_population': '--channels 16 -e 8',
    },
}

_ERRORS = ['epochs', 'best validation error', 'test error there',
           'at the last']


def paper():
    """Returns the table of other runs of the paper's experiment."""
    return markdown(['`--recipe paper` and', *_ERRORS],
                    [_row(name, flags) for name, flags in PAPER.items()])


def convolutions():
    """Returns the table of other runs of the recipe conv."""
    return markdown(
        ['images', '`--recipe conv --validation 10000` and', *_ERRORS],
        [[images, *_row(name, flags)]
         for images, flags_of in CONVOLUTIONS.items()
         for name, flags in flags_of.items()])


def _row(name, flags):
    log = read_log(LOGS / 'search' / f'{name}.json')
    return [f'`{flags}`', str(len(log)), f'{error(best(log)):.2f} %',
            f'{error(best(log), "test"):.2f} %',
            f'{error(log[-1], "test"):.2f} %']
