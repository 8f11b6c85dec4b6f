import json
import os

import pytest

from experiments import compare
from tests.helpers import scripts

pytest.importorskip('matplotlib')

NET = 'main/predictor/'


def make_log(path, errors, **others):
    """Writes a log of one epoch for each test error, in percent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([
        {'epoch': epoch, 'iteration': 600 * epoch, 'main/loss': 1 / epoch,
         'validation/main/accuracy': 1 - error / 100,
         f'{NET}sign_changes1': .1, f'{NET}sign_changes2': .3,
         f'{NET}blocked1': .25, **others}
        for epoch, error in enumerate(errors, 1)]))
    return str(path)


def test_runs_of_one_name_and_several_seeds_are_one_curve(tmp_path):
    logs = [make_log(tmp_path / f'a_seed_{seed}.json', [5, 3 + seed])
            for seed in (0, 2)]
    make_log(tmp_path / 'b' / 'log', [4, 2])
    out = scripts.output('experiments/compare.py', *logs, tmp_path / 'b',
                         cwd=tmp_path)
    assert out.splitlines() == ['a: 2 runs, 4.00 ± 1.41 % at epoch 2',
                                'b: 1 run, 2.00 ± 0.00 % at epoch 2']
    assert (tmp_path / 'compare.png').read_bytes().startswith(b'\x89PNG')


def test_a_group_is_named_by_what_its_paths_have_not_in_common():
    paths = ['x/a_seed_0.json', 'x/a_seed_10.json', 'x/y/a_seed_0.json',
             'x/result/log', 'x/result.1']
    assert compare.group(paths) == {
        'a': paths[:2], os.path.join('y', 'a'): paths[2:3],
        'result': paths[3:4], 'result.1': paths[4:]}
    # Two folders of one name are two runs of anything.
    assert list(compare.group(['p/result', 'q/result/'])) == [
        os.path.join('p', 'result'), os.path.join('q', 'result')]
    assert list(compare.group(['log'])) == ['log']


def test_a_curve_is_means_and_deviations_of_epochs_that_all_have():
    logs = [[{'epoch': 1, 'x': 1}, {'epoch': 2, 'x': 2}, {'epoch': 3}],
            [{'epoch': 1, 'x': 3}, {'epoch': 2, 'x': 2},
             {'epoch': 3, 'x': 5}]]
    assert compare.curve(logs, lambda entry: entry.get('x')) == [
        (1, 2, pytest.approx(2 ** .5)), (2, 2, 0)]
    assert compare.curve(logs[:1], lambda entry: entry.get('x')) == [
        (1, 1, 0), (2, 2, 0)]


def test_the_panels_show_what_they_say(tmp_path):
    log = compare.read(make_log(tmp_path / 'log', [5, 3]))
    figure = compare.draw({'a': [log], 'b': [log, log]})
    values = [axes.get_lines()[0].get_ydata().tolist()
              for axes in figure.axes if axes.get_lines()]
    assert values == [[pytest.approx(5), pytest.approx(3)], [1, .5],
                      [.2, .2], [.25, .25]]
    legend, = [axes.get_legend() for axes in figure.axes
               if axes.get_legend()]
    assert [text.get_text() for text in legend.get_texts()] == [
        'a', 'b, 2 runs']


def test_the_band_is_a_deviation_wide(tmp_path):
    logs = [compare.read(make_log(tmp_path / str(k), [5, 3 + 2 * k]))
            for k in (0, 1)]
    figure = compare.draw({'a': logs})
    band, = figure.axes[0].collections
    heights = band.get_paths()[0].vertices[:, 1]
    assert heights.max() == pytest.approx(4 + 2 ** .5)
    assert heights.min() == pytest.approx(4 - 2 ** .5)


def test_the_error_is_that_of_the_test_images_where_some_are_held_out(
        tmp_path):
    log = compare.read(make_log(tmp_path / 'log', [5],
                                **{'test/main/accuracy': .9}))
    assert compare.error(log[0]) == pytest.approx(10)
    assert compare.error({'epoch': 1}) is None


def test_logs_of_the_project_and_without_the_reports_are_drawn(tmp_path):
    (tmp_path / 'old').write_text('{"log": [{"epoch": 1, "main/loss": 2}]}')
    log = compare.read(str(tmp_path / 'old'))
    assert log == [{'epoch': 1, 'main/loss': 2}]
    compare.draw({'old': [log]})
    out = scripts.output('experiments/compare.py', 'old', cwd=tmp_path)
    assert out == 'old: 1 run, no test error\n'


@pytest.mark.parametrize(('content', 'message'), [
    (None, 'cannot read log: No such file'), ('{', 'log is no log: '),
    ('[]', 'log is no log of a run'), ('{"log": 3}', 'no log of a run'),
    ('[{"a": 1}]', 'no log of a run'), ('[{"epoch": "x"}]', 'no log of'),
    ('[3]', 'no log of a run'), ('[' * 100000, 'log is no log: ')])
def test_what_is_no_log_is_refused_and_no_picture_is_written(
        content, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / 'log').write_text(content)
    assert message in scripts.error(compare.main, 'log')
    assert not (tmp_path / 'compare.png').exists()
