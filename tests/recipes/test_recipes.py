import chainer_compat
import chainer
import chainer.functions as F
import numpy
import pytest

import quantizers
import train_mnist
from layers.batch_normalization import BatchNormalization
from layers.shift_batch_normalization import ShiftBatchNormalization
from optimizers.bop import Bop
from optimizers.fused_adam import FusedAdam
from optimizers.shift_adamax import ShiftAdaMax
from recipes import build, choices, schedule
from system.errors import InputError


# Of the vectors of 30 values below.
IMAGE = 6, 5


def settings(recipe='binarized', **changes):
    return {**choices.RECIPES[recipe], 'unit': 6, **changes}


@pytest.mark.parametrize('recipe', choices.RECIPES)
def test_a_recipe_is_the_defaults_of_the_command_line(recipe):
    _, args = train_mnist.parse_args(['--recipe', recipe])
    assert choices.settings(args) == {
        'recipe': recipe, **choices.RECIPES[recipe]}


@pytest.mark.parametrize('recipe', choices.RECIPES)
def test_a_flag_overrules_the_recipe_wherever_it_stands(recipe):
    for argv in (['--recipe', recipe, '-u', '7', '--dropout=.25'],
                 ['-u7', '--dropout', '.25', f'--recipe={recipe}']):
        _, args = train_mnist.parse_args(argv)
        assert choices.settings(args) == {
            'recipe': recipe, **choices.RECIPES[recipe],
            'unit': 7, 'dropout': .25}


@pytest.mark.parametrize('recipe', choices.RECIPES)
def test_settings_of_a_file_pass_the_check_unchanged(recipe):
    before = choices.RECIPES[recipe]
    assert choices.check({**before, 'recipe': recipe}) == before


@pytest.mark.parametrize('changes', [
    {'unit': 0}, {'unit': '6'}, {'unit': None}, {'layers': 101},
    {'relu': 1.5}, {'relu': None}, {'dropout': 1}, {'loss': ['softmax']},
    {'weight_quantizer': 'linear:99'}, {'alpha': float('nan')},
    {'clip': '--help'}, {'channels': -1}, {'channels': None},
    {'channels': 1 << 20}, {'blocks': 0}, {'blocks': 99}])
def test_other_settings_are_refused(changes):
    with pytest.raises(ValueError, match='settings: '):
        choices.check({**choices.RECIPES['binarized'], **changes})


def test_what_holds_no_settings_is_refused():
    for others in {}, {'recipe': 'binarized', 'lr': .1}:
        with pytest.raises(InputError, match='settings: there are none'):
            choices.check(others)


def test_a_setting_that_an_older_file_lacks_has_its_default():
    older = {**choices.RECIPES['paper'], 'relu': True}
    del older['loss'], older['normalization_decay']
    del older['channels'], older['blocks']
    assert choices.check(older) == {
        **choices.RECIPES['paper'], 'relu': True, 'loss': 'softmax'}


@pytest.mark.parametrize('evaluation', ['batch', 'population'])
def test_evaluation_with_a_batch_needs_its_normalization(evaluation):
    together = {**choices.RECIPES['paper-shift'], 'evaluation': evaluation}
    with pytest.raises(InputError, match=f'--evaluation {evaluation} needs'):
        choices.check(together)


def test_original_is_what_its_table_shows():
    net = build.make_net(settings('original'), 784, 10)
    assert str(net.l1.quantizer) == str(net.activation_quantizer) == 'log'
    assert str(net.l3.gradient_quantizer) == 'log'
    assert net.relu
    assert net.bn1.evaluate_with_batch
    assert not net.dropout


def test_binary_net_is_the_default_evaluated_with_batches():
    assert choices.RECIPES['binary-net'] == {
        **choices.RECIPES['binarized'], 'evaluation': 'batch',
        'clip_timing': 'before'}


def test_paper_is_the_experiment_in_theano():
    chosen = choices.RECIPES['paper']
    net = build.make_net(settings('paper'), 784, 10)
    assert (len(net.layers()), net.input_dropout, net.dropout) == (4, .2, .5)
    assert (net.bn1.eps, net.bn1.decay) == (1e-4, .9)
    assert type(net.bn1) is BatchNormalization
    W = net.l1.W.array
    assert W.min() < -.9 < .9 < W.max()
    assert abs(W.mean()) < .1
    assert schedule.alpha(chosen, 0) == .003
    assert schedule.alpha(chosen, 500) == pytest.approx(3e-5)
    assert schedule.alpha(chosen, 1000) == pytest.approx(3e-7)


def test_paper_shift_is_the_experiment_in_torch():
    chosen = choices.RECIPES['paper-shift']
    model = build.make_classifier(settings('paper-shift'), 784, 10)
    net = model.predictor
    assert type(net.bn1) is ShiftBatchNormalization
    assert (net.bn1.eps, net.bn1.decay) == (1e-5, .875)
    assert str(net.activation_quantizer) == 'stochastic'
    assert str(net.l1.quantizer) == 'binary'
    assert type(build.make_optimizer(chosen, model)) is ShiftAdaMax
    assert [schedule.alpha(chosen, epoch) for epoch in (0, 19, 20, 40)] == [
        2. ** -6, 2. ** -6, 2. ** -7, 2. ** -8]


def test_bop_is_the_default_without_latent_weights():
    chosen = choices.RECIPES['bop']
    changed = {name for name, value in chosen.items()
               if value != choices.RECIPES['binarized'][name]}
    assert changed == {'optimizer', 'gamma', 'final_gamma', 'threshold',
                       'clip'}
    model = build.make_classifier(settings('bop'), 784, 10)
    optimizer = build.make_optimizer(chosen, model)
    assert type(optimizer) is Bop
    assert (optimizer.alpha, optimizer.gamma, optimizer.threshold) == (
        chosen['alpha'], chosen['gamma'], chosen['threshold'])


def test_conv_is_the_default_with_convolutions():
    chosen = choices.RECIPES['conv']
    changed = {name for name, value in chosen.items()
               if value != choices.RECIPES['binarized'][name]}
    assert changed == {'unit', 'layers', 'channels', 'initial_weight',
                       'evaluation', 'alpha', 'final_alpha', 'step_scale'}
    net = build.make_net(chosen, 784, 10, (28, 28))
    assert [link.W.shape[0] for link, _ in net.layers()] == [
        32, 32, 64, 64, 256, 10]
    assert abs(net.l4.W.array).max() > .99
    # N(0, 1/n_in), where n_in counts the window.
    net = build.make_net({**chosen, 'initial_weight': 'normal'}, 784, 10,
                         (28, 28))
    assert net.l4.W.array.std() == pytest.approx((64 * 9) ** -.5, rel=.05)


def test_every_choice_reaches_the_convolutions():
    chosen = settings(
        channels=3, blocks=1, layers=2, weight_quantizer='linear:4',
        activation_quantizer='log', gradient_quantizer='log:6', relu=True,
        input_dropout=.1, dropout=.2, initial_weight='uniform',
        normalization_eps=1e-3, normalization_decay=.7, evaluation='batch')
    net = build.make_net(chosen, 35, 4, (7, 5))
    assert [link.W.shape for link, _ in net.layers()] == [
        (3, 1, 3, 3), (3, 3, 3, 3), (6, 3 * 3 * 2), (6, 6), (4, 6)]
    for link, normalization in net.layers():
        assert str(link.quantizer) == 'linear:4'
        assert str(link.gradient_quantizer) == 'log:6'
        assert (normalization.eps, normalization.decay) == (1e-3, .7)
        assert normalization.evaluate_with_batch
    assert (str(net.activation_quantizer), net.relu) == ('log', True)
    assert (net.input_dropout, net.dropout) == (.1, .2)
    assert net.l2.W.array.std() > .4  # normal: .19
    shift = build.make_net(
        settings(channels=3, blocks=1, normalization='shift'), 35, 4, (7, 5))
    assert type(shift.bn1) is ShiftBatchNormalization


@pytest.mark.parametrize(('shape', 'blocks', 'match'), [
    ((28, 28), 5, '--blocks 5 leaves nothing of images of 28 x 28 pixels, '
     'whose height and width each block halves: 4 at most'),
    ((64, 3), 2, '64 x 3 .*: 1 at most'),
    ((1, 784), 1, '1 x 784 .*: they are too small for --channels')])
def test_blocks_that_leave_nothing_of_an_image_are_refused(
        shape, blocks, match):
    chosen = settings('conv', blocks=blocks)
    n_in = shape[0] * shape[1]
    for function in build.make_classifier, build.summary:
        with pytest.raises(InputError, match=match):
            function(chosen, n_in, 10, shape)
    if blocks > 1:
        build.make_net({**chosen, 'blocks': blocks - 1}, n_in, 10, shape)
    # An MLP takes images of any size.
    build.make_net(settings(), n_in, 10, shape)


@pytest.mark.parametrize('changes', [
    {'recipe': 'original'}, {'recipe': 'paper', 'step_scale': 'glorot'},
    {'recipe': 'paper-shift', 'input_dropout': .1}, {'recipe': 'bop'},
    {'weight_quantizer': 'ternary:0.05'},
    {'weight_quantizer': 'none'},
    {'weight_quantizer': 'linear:4', 'activation_quantizer': 'linear:4',
     'gradient_quantizer': 'linear:8'},
    {'weight_quantizer': 'log:4', 'activation_quantizer': 'log:3',
     'relu': True}, {'activation_quantizer': 'heaviside'},
    {'activation_quantizer': 'dorefa:2'}, {'estimator': 'swish'},
    {'estimator': 'approx', 'dropout': .1}, {'loss': 'hinge'},
    {'optimizer': 'shift-adamax', 'alpha': 2. ** -8},
    {'clip_timing': 'before', 'evaluation': 'batch'}])
def test_convolutions_train_with_every_choice(changes, random, kernel_path):
    recipe = changes.get('recipe', 'binarized')
    chosen = {**settings(recipe, unit=20, layers=1, channels=4, blocks=1),
              **changes}
    choices.check(chosen)
    numpy.random.seed(0)
    model = build.make_classifier(chosen, 30, 10, IMAGE)
    optimizer = build.make_optimizer(chosen, model)
    t = numpy.resize(numpy.arange(10), 50).astype('i')
    x = random.uniform(0, 1, (10, 30))[t] + .2 * random.uniform(0, 1, (50, 30))
    x = x.astype('f')
    losses = []
    for _ in range(40):
        optimizer.update(model, x, t)
        losses.append(float(model.loss.array))
    assert numpy.mean(losses[-5:]) < .9 * losses[0]
    for link, _ in model.predictor.layers():
        assert link.W.grad.any()
        assert link.W.array.dtype == numpy.float32
        if chosen['optimizer'] == 'bop':
            assert set(numpy.unique(link.W.array)) == {-1, 1}
    with chainer.using_config('train', False), chainer.no_backprop_mode():
        assert numpy.isfinite(model(x, t).array)


def test_gamma_decays_as_alpha_does():
    chosen = {**choices.RECIPES['bop'], 'gamma': 1e-2, 'final_gamma': 1e-4,
              'epoch': 20}
    assert [schedule.sizes(chosen, epoch)['gamma']
            for epoch in (0, 10, 20)] == pytest.approx([1e-2, 1e-3, 1e-4])
    chosen['final_gamma'] = None
    assert schedule.sizes(chosen, 10) == {'alpha': .001, 'gamma': 1e-2}
    assert schedule.sizes(choices.RECIPES['binarized'], 3) == {'alpha': .001}


def test_another_number_of_epochs_under_a_decay_of_gamma_is_said():
    before = choices.RECIPES['bop']
    line = schedule.difference({**before, 'epoch': 30}, before)
    assert 'the decay of the step size to --final-gamma' in line
    assert schedule.difference(before, before) is None


@pytest.mark.parametrize(('recipe', 'changes', 'message'), [
    ('binarized', {'gamma': .1}, '--gamma needs --optimizer bop'),
    ('binarized', {'final_gamma': .1}, '--final-gamma needs --optimizer bop'),
    ('binarized', {'threshold': 0.}, '--threshold needs --optimizer bop'),
    ('binarized', {'optimizer': 'bop'}, '--optimizer bop needs --gamma, or'),
    ('bop', {'threshold': None}, '--optimizer bop needs --threshold, or'),
    ('bop', {'weight_quantizer': 'linear:4'},
     'needs binary weights, got --weight-quantizer linear:4'),
    ('bop', {'step_scale': 'glorot'}, '--step-scale'),
    ('binarized', {'blocks': 3},
     '--blocks is of convolutions: it needs --channels'),
    ('binarized', {'activation_quantizer': 'dorefa:2', 'estimator': 'approx'},
     '--activation-quantizer dorefa:2 has no estimator but clip, got approx'),
])
def test_choices_that_do_not_go_together_are_refused(
        recipe, changes, message):
    with pytest.raises(InputError, match=message):
        choices.check({**choices.RECIPES[recipe], **changes})


@pytest.mark.parametrize('estimator', quantizers.ESTIMATORS)
def test_the_estimator_reaches_the_activations_and_not_the_weights(estimator):
    net = build.make_net(settings(estimator=estimator), 784, 10)
    assert net.activation_quantizer.estimator == estimator
    assert net.l1.quantizer.estimator == 'clip'


def test_the_gradients_quantizer_reaches_every_layer():
    net = build.make_net(settings(gradient_quantizer='log:6'), 784, 10)
    assert str(net.gradient_quantizer) == 'log:6'
    assert str(net.l3.gradient_quantizer) == 'log:6'
    net = build.make_net(settings(), 784, 10)
    assert net.gradient_quantizer is net.l1.gradient_quantizer is None


@pytest.mark.parametrize('name', ['linear:2', 'log:2'])
def test_weights_that_would_all_be_zero_are_refused(name):
    chosen = settings(weight_quantizer=name, unit=1000)
    with pytest.raises(ValueError, match=(
            f'{name} rounds all initial weights of layer 1 to 0')):
        build.make_classifier(chosen, 784, 10)
    build.make_classifier({**chosen, 'initial_weight': 'uniform'}, 784, 10)


def test_squared_hinge_is_the_mean_of_the_paper(random):
    y = random.standard_normal((5, 10)).astype('f')
    t = random.randint(0, 10, 5).astype('i')
    signs = numpy.full((5, 10), -1.)
    signs[numpy.arange(5), t] = 1
    loss = build.squared_hinge(y, t)
    assert loss.array == pytest.approx(
        (numpy.maximum(0, 1 - signs * y) ** 2).mean(), rel=1e-5)


def updated(random, **changes):
    """A model before and after an update in which all gradients are 1."""
    chosen = settings(**changes)
    model = build.make_classifier(chosen, 784, 10, (28, 28))
    optimizer = build.make_optimizer(chosen, model)
    for param in model.params():
        param.grad = numpy.ones_like(param.array)
    before = {name: param.array.copy() for name, param in model.namedparams()}
    optimizer.update()
    return before, {name: param.array for name, param in model.namedparams()}


def test_glorot_scales_the_steps_of_the_weights_alone(random):
    before, after = updated(random, step_scale='glorot', clip='none')
    for name in before:
        scale = 1
        if name.endswith('/W'):
            scale = 1 / (1.5 / sum(before[name].shape)) ** .5
        numpy.testing.assert_allclose(
            before[name] - after[name], .001 * scale, rtol=1e-3, err_msg=name)


def test_glorot_counts_the_window_of_a_convolution(random):
    before, after = updated(random, step_scale='glorot', clip='none',
                            channels=4)
    for name, fans in {'/l1/W': 9 * (1 + 4), '/l2/W': 9 * (4 + 4),
                       '/l3/W': 9 * (4 + 8), '/l5/W': 8 * 7 * 7 + 6,
                       '/bn1/gamma': 1.5}.items():
        numpy.testing.assert_allclose(
            before[f'/predictor{name}'] - after[f'/predictor{name}'],
            .001 * (fans / 1.5) ** .5, rtol=1e-3, err_msg=name)


@pytest.mark.parametrize(('clip', 'is_clipped'), [
    ('all', lambda name: True), ('weights', lambda name: name.endswith('/W')),
    ('none', lambda name: False)])
def test_the_clip_is_of_those_that_are_chosen(clip, is_clipped, random):
    _, after = updated(random, clip=clip, alpha=5.)
    for name, array in after.items():
        assert (numpy.abs(array).max() <= 1) == is_clipped(name), name


def test_the_optimizer_is_the_fused_adam_by_default():
    model = build.make_classifier(settings(), 784, 10)
    assert type(build.make_optimizer(settings(), model)) is FusedAdam
    assert model.lossfun is F.softmax_cross_entropy


@pytest.mark.parametrize('recipe', choices.RECIPES)
def test_every_recipe_trains_and_evaluates(recipe, random, kernel_path):
    chosen = settings(recipe, unit=20)
    model = build.make_classifier(chosen, 30, 10, IMAGE)
    optimizer = build.make_optimizer(chosen, model)
    x = random.uniform(0, 1, (50, 30)).astype('f')
    t = random.randint(0, 10, 50).astype('i')
    losses = []
    for _ in range(30):
        optimizer.update(model, x, t)
        losses.append(float(model.loss.array))
    assert numpy.mean(losses[-5:]) < .95 * losses[0]
    with chainer.using_config('train', False), chainer.no_backprop_mode():
        assert numpy.isfinite(model(x, t).array)


def test_original_rounds_what_products_of_the_backward_take(random):
    """One layer's gradients, in the words of what the original computed."""
    def q(x):
        return numpy.sign(x) * numpy.minimum(
            2. ** numpy.round(numpy.log2(numpy.abs(x))), 1)

    net = build.make_net(settings('original', layers=1, unit=4), 5, 3)
    x = chainer.Variable(random.standard_normal((6, 5)).astype('f'))
    gy = random.standard_normal((6, 4)).astype('f') / 7
    layer = net.l1
    y = layer(x)
    numpy.testing.assert_allclose(y.array, x.array @ q(layer.W.array).T,
                                  rtol=1e-5)
    layer.cleargrads()
    y.grad = gy
    y.backward()
    numpy.testing.assert_allclose(x.grad, q(gy) @ q(layer.W.array), rtol=1e-5)
    numpy.testing.assert_allclose(layer.W.grad, q(gy).T @ x.array, rtol=1e-5)


@pytest.mark.parametrize(('timing', 'largest'), [
    ('after', 1), ('before', 1.001)])
def test_the_clip_is_where_the_settings_say(timing, largest):
    model = build.make_classifier(settings(clip_timing=timing), 5, 2)
    optimizer = build.make_optimizer(settings(clip_timing=timing), model)
    for _ in range(3):
        for param in model.params():
            param.grad = numpy.full_like(param.array, -1)
        optimizer.update()
    # It is 1 at the beginning.
    assert model.predictor.bn1.gamma.array == pytest.approx(largest, abs=1e-5)
