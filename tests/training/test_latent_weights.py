import chainer_compat
import chainer
import numpy
import pytest

from net import MnistConvNet, MnistMLP
from training import latent_weights


def entry(epoch, *histograms):
    names = [f'{edge:+.2f}' for edge in latent_weights.EDGES[:-1]]
    result = {'epoch': epoch}
    for k, values in enumerate(histograms, 1):
        result[f'main/predictor/sign_changes{k}'] = .1 / epoch
        result.update({f'main/predictor/weights{k}/{name}': value
                       for name, value in zip(names, values)})
    return result


@pytest.mark.parametrize('dtype', [numpy.float16, numpy.float32,
                                   numpy.float64])
def test_shares_are_those_of_a_histogram(dtype, random):
    W = random.uniform(-1, 1, (70, 30)).astype(dtype)
    counts, _ = numpy.histogram(W.astype('d') + 1e-12, latent_weights.EDGES)
    numpy.testing.assert_allclose(
        latent_weights.shares(W.astype('d')), counts / W.size)
    assert latent_weights.shares(W).sum() == pytest.approx(1)


def test_what_is_beyond_is_in_the_outer_bins_and_one_in_the_last():
    shares = latent_weights.shares(
        numpy.array([[-1, -7], [1, 9], [0, -0.], [-.01, .96]], 'f'))
    assert shares[0] == .25
    assert shares[-1] == .375
    assert shares[20] == .25
    assert shares[19] == .125
    assert shares.sum() == 1


def test_histograms_are_reported_for_each_layer_and_found_in_the_log():
    net = MnistMLP(100, 70, 10, n_hidden=1)
    net.l1.W.array[...] = .5
    net.l2.W.array[:4] = -.25
    net.l2.W.array[4:] = 1
    reporter = chainer.Reporter()
    reporter.add_observer('main/predictor', net)
    with reporter.scope({}):
        latent_weights.WeightHistograms(net)(None)
        observed = reporter.observation
    assert len(observed) == 80
    assert observed['main/predictor/weights1/+0.50'] == 1
    assert observed['main/predictor/weights2/-0.25'] == .4
    assert observed['main/predictor/weights2/+0.95'] == .6
    assert all(map(latent_weights.is_of_histogram, observed))
    assert not latent_weights.is_of_histogram('main/predictor/blocked1')
    assert latent_weights.histogram(observed, 2)[15] == .4
    assert latent_weights.histogram(observed, 3) is None


def test_histograms_are_of_convolutions_as_well():
    net = MnistConvNet((4, 4), 5, 7, 3, n_blocks=1)
    net.l2.W.array[...] = .5
    net.l2.W.array[:, 0, 0] = -1
    reporter = chainer.Reporter()
    reporter.add_observer('main/predictor', net)
    with reporter.scope({}):
        latent_weights.WeightHistograms(net)(None)
        shares = latent_weights.histogram(reporter.observation, 2)
    assert shares[0] == pytest.approx(15 / 225)
    assert shares[30] == pytest.approx(210 / 225)


def test_the_picture_shows_histograms_and_flips_of_each_layer(random):
    pytest.importorskip('matplotlib')
    values = random.dirichlet(numpy.ones(40), (2, 3))
    # Of a run that went on with them, the first epochs have none.
    log = [{'epoch': 4}, entry(5, *values[0]), entry(6, *values[1])]
    figure = latent_weights.draw(log, 3)
    assert len(figure.axes) == 7
    for k in range(3):
        mesh, = figure.axes[k].collections
        shown = mesh.get_array().reshape(40, 2)
        numpy.testing.assert_allclose(shown, values[:, k].T.clip(1e-5))
        line, = figure.axes[3 + k].get_lines()
        assert line.get_xydata().tolist() == [[5, .1 / 5], [6, .1 / 6]]


@pytest.mark.parametrize('log', [[], [{'epoch': 1}]])
def test_a_log_without_histograms_gives_an_empty_picture(log, tmp_path):
    pytest.importorskip('matplotlib')
    latent_weights.draw(log, 3).savefig(tmp_path / 'a.png')
    assert (tmp_path / 'a.png').read_bytes().startswith(b'\x89PNG')


def test_without_plots_there_is_no_picture():
    net = MnistMLP(5, 4, 3)
    assert [type(e) for e in latent_weights.extensions(net, False)] == [
        latent_weights.WeightHistograms]
    assert [type(e) for e in latent_weights.extensions(net, True)] == [
        latent_weights.WeightHistograms, latent_weights.WeightPlot]
