import io
import types

import chainer_compat  # noqa: F401  (before chainer)
import pytest
from chainer.training import extensions

from training.reports import PlotReport, PrintReport


class Terminal(io.StringIO):

    def isatty(self):
        return True


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
