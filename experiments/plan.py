"""What is run: the experiments, by the names of their logs."""
import typing

from quantizers import ESTIMATORS


class Experiment(typing.NamedTuple):
    """Runs of one command with one seed each.

    Attributes:
        arguments (str): Those of train_mnist.py but for ``--seed``.
        seeds (int): Number of runs, with the seeds from 0 upwards.
        variant (str or None): What variants.py changes.
        fashion (bool): Whether the data are Fashion-MNIST.
        alone (bool): Whether a run takes all cores, since it is long.

    """

    arguments: str = ''
    seeds: int = 10
    variant: typing.Optional[str] = None
    fashion: bool = False
    alone: bool = False


def _both(name):
    return f'--weight-quantizer {name} --activation-quantizer {name}'


# Of the optimizers that estimators are compared with. The alpha of shift-based
# AdaMax is that of the authors' script, halved as often as in print.
OPTIMIZERS = {
    'adam': '',
    'shift': '--optimizer shift-adamax --alpha .015625 --halve-every 10',
    'bop': '--recipe bop',
}


def _estimators():
    """Returns the experiments of the group ``estimators``, by name.

    The default net and 20 epochs: with Adam and ``clip`` they are those that
    are there for other tables. Two at a time on two cores, 120 runs take about
    two hours.
    """
    experiments = {}
    for optimizer, flags in OPTIMIZERS.items():
        for estimator in ESTIMATORS:
            for fashion in False, True:
                name = estimator_log(optimizer, estimator, fashion)
                if '/' in name:
                    experiments[name] = Experiment(
                        f'{flags} --estimator {estimator}'.strip(), 5,
                        fashion=fashion)
    return experiments


def estimator_log(optimizer, estimator, fashion):
    """Returns the name of an experiment of the group ``estimators``."""
    if (optimizer, estimator) == ('adam', 'clip'):
        return 'fashion_mnist' if fashion else 'binarized'
    return f'estimators/{"fashion_" * fashion}{optimizer}_{estimator}'


_UNIFORM = '--initial-weight uniform'
_FOUR = '--recipe original --epoch 4'

# Groups of experiments; their names are those of the logs.
GROUPS = {
    'binarized': {'binarized': Experiment()},
    'original': {'original': Experiment('--recipe original')},
    'binary-net': {'binary_net': Experiment('--recipe binary-net')},
    'bits': {
        'linear2': Experiment(f'{_both("linear:2")} {_UNIFORM}', 5),
        'linear4': Experiment(_both('linear:4'), 5),
        'log2': Experiment(f'{_both("log:2")} {_UNIFORM}', 5),
        'log4': Experiment(_both('log:4'), 5),
        'none': Experiment(_both('none'), 5),
        'binary_linear2': Experiment('--activation-quantizer linear:2', 5),
    },
    'fashion': {
        'fashion_mnist': Experiment(fashion=True),
        'fashion_mnist_batch': Experiment('--evaluation batch', fashion=True),
        'fashion_mnist_decay': Experiment(
            '--normalization-decay .99', fashion=True),
        'fashion_mnist_population': Experiment(
            '--evaluation population', fashion=True),
    },
    'variants': {
        'variants/plain-gradient': Experiment(
            f'{_FOUR} --gradient-quantizer none'),
        'variants/no-relu': Experiment(f'{_FOUR} --no-relu'),
        'variants/clip-after': Experiment(f'{_FOUR} --clip-timing after'),
        'variants/running-averages': Experiment(
            f'{_FOUR} --evaluation running'),
        **{f'variants/{name}': Experiment(_FOUR, variant=name)
           for name in ('rounded-inputs', 'small-gradients',
                        'rounded-activations')},
    },
    'conv': {
        'conv': Experiment('--recipe conv', 5),
        'conv_fashion': Experiment('--recipe conv', 5, fashion=True),
    },
    'paper': {
        'paper': Experiment(
            '--recipe paper --epoch 300 --alpha .001 --final-alpha 4e-6 '
            '--input-dropout .2 --dropout .3 --evaluation population '
            '--frequency 10', 1, alone=True),
        'paper_shift': Experiment(
            '--recipe paper-shift --epoch 60 --alpha .001953125 '
            '--halve-every 10 --input-dropout .2 --dropout .2 '
            '--normalization-decay .99 --frequency 20', 1, alone=True),
    },
}

# Those with Adam and clip are of two groups.
GROUPS['estimators'] = {
    **GROUPS['binarized'],
    'fashion_mnist': GROUPS['fashion']['fashion_mnist'], **_estimators()}

EXPERIMENTS = {name: experiment for group in GROUPS.values()
               for name, experiment in group.items()}
