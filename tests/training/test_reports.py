import io
import json
import re
import types

import chainer_compat
import chainer
import chainer.links as L
import numpy
import pytest
from chainer.training import Trainer, extensions, triggers, updaters

from training.reports import DumpGraph, LogReport, PlotReport, PrintReport


class Terminal(io.StringIO):

    def isatty(self):
        return True


def make_trainer(out, n_epochs=2):
    """Returns a trainer of 4 iterations an epoch."""
    numpy.random.seed(0)
    model = L.Classifier(L.Linear(3, 2))
    optimizer = chainer.optimizers.SGD().setup(model)
    x = numpy.random.uniform(-1, 1, (8, 3)).astype('f')
    data = chainer.datasets.TupleDataset(x, numpy.arange(8) % 2)
    iterator = chainer.iterators.SerialIterator(data, 2)
    return Trainer(updaters.StandardUpdater(iterator, optimizer),
                   (n_epochs, 'epoch'), out=str(out))


def trainer_with_log(log, out=''):
    report = extensions.LogReport()
    report._log = log
    return types.SimpleNamespace(
        out=str(out), updater=types.SimpleNamespace(is_new_epoch=True),
        get_extension=lambda name: {'LogReport': report}[name])


LOG = [{'epoch': 1, 'iteration': 600, 'loss': 0.5, 'test/loss': 0.75},
       {'epoch': 2, 'iteration': 1200, 'loss': 0.25, 'test/loss': 0.5}]


def test_a_file_gets_the_columns_and_no_escape_codes():
    out = io.StringIO()
    PrintReport(['epoch', 'loss'], out=out)(trainer_with_log(LOG))
    assert [line.split() for line in out.getvalue().splitlines()] == [
        ['epoch', 'loss'], ['1', '0.5'], ['2', '0.25']]
    assert '\033' not in out.getvalue()


def test_a_terminal_has_the_progress_bar_erased():
    out = Terminal()
    PrintReport(['epoch', 'loss'], out=out)(trainer_with_log(LOG))
    assert out.getvalue().count('\033[J') == len(LOG)


@pytest.mark.parametrize('log', [LOG, LOG[:1], [{'epoch': 1}], []])
def test_a_picture_is_drawn_for_any_log(log, tmp_path):
    PlotReport({'loss': 'training', 'test/loss': 'test'}, 'loss', 'loss.png')(
        trainer_with_log(log, tmp_path))
    assert (tmp_path / 'loss.png').read_bytes().startswith(b'\x89PNG')


def test_the_picture_shows_the_logged_values(tmp_path, monkeypatch):
    from matplotlib.figure import Figure
    drawn = []
    monkeypatch.setattr(Figure, 'savefig',
                        lambda figure, *args, **_: drawn.append(figure))
    PlotReport({'loss': 'training', 'test/loss': 'test'}, 'loss', 'loss.png')(
        trainer_with_log(LOG, tmp_path))
    axes, = drawn[0].axes
    curves = {line.get_label(): line.get_xydata().tolist()
              for line in axes.get_lines()}
    assert curves == {'training': [[1, 0.5], [2, 0.25]],
                      'test': [[1, 0.75], [2, 0.5]]}
    assert (axes.get_xlabel(), axes.get_ylabel()) == ('epoch', 'loss')


def note(entry):
    entry['note'] = 'a text'
    del entry['elapsed_time']


@pytest.mark.parametrize(('kwargs', 'files', 'keys', 'iterations'), [
    ({}, ['log'], {'main/loss', 'main/accuracy', 'elapsed_time'}, [4, 8]),
    ({'filename': 'a'}, ['a'], None, [4, 8]),
    ({'log_name': 'a'}, ['a'], None, [4, 8]),
    ({'log_name': None}, [], None, [4, 8]),
    ({'trigger': (3, 'iteration'), 'filename': '{iteration:.0f}.json'},
     ['3.json', '6.json'], None, [3, 6]),
    ({'trigger': lambda trainer: trainer.updater.iteration in (1, 5)},
     ['log'], None, [1, 5]),
    ({'keys': ['main/loss', 'x'], 'postprocess': note}, ['log'],
     {'main/loss', 'note'}, [4, 8])])
def test_the_log_takes_chainers_arguments(
        kwargs, files, keys, iterations, tmp_path):
    results = []
    for cls in LogReport, extensions.LogReport:
        out = tmp_path / cls.__module__
        trainer = make_trainer(out)
        report = cls(**kwargs)
        trainer.extend(report)
        trainer.run()
        assert sorted(path.name for path in out.iterdir()) == files
        for entry in report.log:
            entry.pop('elapsed_time', 0 if 'postprocess' in kwargs else None)
        results.append(report.log)
    assert results[0] == results[1]
    assert [entry['iteration'] for entry in report.log] == iterations
    if keys:
        log = json.loads((tmp_path / 'training.reports' / 'log').read_text())
        assert log[0].keys() == {'epoch', 'iteration'} | keys


@pytest.mark.parametrize('postprocess', [None, note])
@pytest.mark.parametrize(('saver', 'loader'), [
    (LogReport, extensions.LogReport), (extensions.LogReport, LogReport),
    (LogReport, LogReport)])
def test_a_log_goes_on_from_chainers_and_the_other_way_round(
        saver, loader, postprocess, tmp_path):
    logs = []
    path = str(tmp_path / 'snapshot')
    for cls, n_epochs in (saver, 1), (loader, 3):
        trainer = make_trainer(tmp_path, n_epochs)
        report = cls(postprocess=postprocess, trigger=(3, 'iteration'))
        trainer.extend(report)
        if logs:
            chainer.serializers.load_npz(path, trainer)
        trainer.run()
        chainer.serializers.save_npz(path, trainer)
        logs.append([entry['iteration'] for entry in report.log])
    assert logs == [[3], [3, 6, 9, 12]]


@pytest.mark.parametrize('log', ['[{}]', '[{"epoch": "x"}]'])
def test_a_log_without_its_values_is_damaged(log):
    target = chainer.serializers.DictionarySerializer()
    target.save(LogReport())
    arrays = {**target.target, '_log': numpy.array(log)}
    with pytest.raises(ValueError, match='the log is damaged'):
        chainer.serializers.NpzDeserializer(arrays).load(LogReport())
    # What a postprocess makes of the entries is nobody else's affair.
    chainer.serializers.NpzDeserializer(arrays).load(
        LogReport(postprocess=note))


@pytest.mark.parametrize('first', [LogReport, extensions.LogReport])
def test_a_report_can_be_given_to_print(first, tmp_path):
    own, other = io.StringIO(), io.StringIO()
    trainer = make_trainer(tmp_path)
    trainer.extend(PrintReport(
        ['iteration'], first(trigger=(3, 'iteration')), own))
    trainer.extend(LogReport(), name='other')
    trainer.extend(PrintReport(['epoch'], 'other', other))
    trainer.run()
    assert own.getvalue().split() == ['iteration', '3', '6']
    assert other.getvalue().split() == ['epoch', '1', '2']


def test_a_report_is_printed_to_anything_that_can_be_written_to():
    lines = []
    out = types.SimpleNamespace(write=lines.append)
    PrintReport(['epoch'], out=out)(trainer_with_log(LOG))
    assert ''.join(lines).split() == ['epoch', '1', '2']


def test_without_a_file_it_is_printed_to_todays_standard_output(capsys):
    PrintReport(['epoch'])(trainer_with_log(LOG))
    assert capsys.readouterr().out.split() == ['epoch', '1', '2']


def test_what_is_no_report_is_refused_as_by_chainer():
    with pytest.raises(TypeError, match='wrong type'):
        PrintReport(['epoch'], 3)(trainer_with_log(LOG))


@pytest.mark.parametrize('entries', [['main/loss'], 'main/loss', None])
def test_a_plot_takes_a_dictionary_and_says_so(entries):
    with pytest.raises(TypeError, match='entries must be a dictionary'):
        PlotReport(entries, 'epoch', 'loss.png')


STYLES = {'variable_style': {'shape': 'octagon', 'fillcolor': 'red'},
          'function_style': {'shape': 'record'}}


@pytest.mark.parametrize('keep', [False, True])
@pytest.mark.parametrize(('kwargs', 'name'), [
    ({}, 'cg.dot'), ({'filename': 'a'}, 'a'), ({'out_name': 'a'}, 'a'),
    (STYLES, 'cg.dot')])
def test_the_graph_is_chainers_and_is_kept_for_one_iteration(
        kwargs, name, keep, tmp_path, monkeypatch):
    monkeypatch.setattr(
        extensions.computational_graph, 'is_graphviz_available', lambda: False)
    graphs = []
    for cls in DumpGraph, extensions.DumpGraph:
        out = tmp_path / cls.__module__
        trainer = make_trainer(out)
        trainer.extend(cls('main/loss', **kwargs))
        kept = []
        trainer.extend(
            lambda trainer, kept=kept: kept.append(
                chainer.config.keep_graph_on_report),
            trigger=(1, 'iteration'), name='flag', priority=1000)
        with chainer.using_config('keep_graph_on_report', keep):
            trainer.run()
            assert chainer.config.keep_graph_on_report == keep
        assert kept == [True] + 7 * [keep]
        assert [path.name for path in out.iterdir()] == [name]
        graphs.append((out / name).read_text())
    # Nodes have their objects' addresses as names.
    ours, chainers = (
        sorted(re.sub(r'\d{6,}', '', graph).split(';')) for graph in graphs)
    assert ours == chainers
    assert len(ours) > 10


def test_a_graph_is_dumped_again_after_a_snapshot(tmp_path):
    state = chainer.serializers.DictionarySerializer()
    for out in tmp_path / 'a', tmp_path / 'b':
        trainer = make_trainer(out)
        trainer.extend(DumpGraph('main/loss'))
        if state.target:
            chainer.serializers.NpzDeserializer(state.target).load(trainer)
        else:
            trainer.run()
            state.save(trainer)
            assert not [key for key in state.target if 'graph' in key]
    trainer.stop_trigger = triggers.IntervalTrigger(3, 'epoch')
    trainer.run()
    assert (out / 'cg.dot').exists()


@pytest.mark.parametrize(('name', 'error'), [
    ('main/x', KeyError), ('epoch', TypeError)])
def test_a_root_that_is_none_is_refused_and_no_graph_is_kept(
        name, error, tmp_path):
    trainer = make_trainer(tmp_path)
    trainer.extend(lambda trainer: trainer.observation.update(epoch=1.),
                   trigger=(1, 'iteration'), priority=1000, name='epoch')
    trainer.extend(DumpGraph(name))
    with pytest.raises(error, match=name):
        trainer.run(show_loop_exception_msg=False)
    assert not chainer.config.keep_graph_on_report


def test_a_run_that_ends_in_its_first_iteration_keeps_no_graph(tmp_path):
    trainer = make_trainer(tmp_path)
    trainer.extend(DumpGraph('main/loss'))
    trainer.updater.get_optimizer('main').update = None
    with pytest.raises(TypeError):
        trainer.run(show_loop_exception_msg=False)
    assert not chainer.config.keep_graph_on_report
