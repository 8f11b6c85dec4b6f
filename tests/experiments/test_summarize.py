import re
import shutil
import subprocess
import sys

import pytest

from experiments import pictures, summarize
from tests.helpers import ROOT, scripts

SCRIPT = 'experiments/summarize.py'


@pytest.fixture
def copy(tmp_path):
    """A folder with the project's documents."""
    (tmp_path / 'docs').mkdir()
    for path in summarize.documents(ROOT):
        shutil.copy(path, tmp_path / path.relative_to(ROOT))
    return tmp_path


def test_every_table_is_printed_after_its_name(tmp_path):
    out = scripts.output(SCRIPT, cwd=tmp_path)
    for name, table in summarize.TABLES.items():
        text = table()
        assert f'{name}\n\n{text}\n' in out
        header, rule, *rows = text.split('\n\n')[0].splitlines()
        assert set(rule) == set('| -')
        assert rows
        assert {row.count(' | ') for row in rows} == {header.count(' | ')}


def test_a_closed_pipe_is_no_error(tmp_path):
    process = subprocess.Popen(
        [sys.executable, str(ROOT / SCRIPT)], cwd=tmp_path,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert process.stderr.read() == b''
    assert process.wait() == 0
    process.stderr.close()


def test_an_update_makes_the_committed_documents_again(copy, monkeypatch):
    monkeypatch.setattr(pictures, 'draw_all', lambda folder: None)
    paths = summarize.documents(copy)
    n_tables = 0
    for path in paths:
        text, n = re.subn(
            '^(<!-- table: .*? -->).*?^(<!-- end -->)', r'\1\nold\n\2',
            path.read_text(encoding='utf-8'), flags=re.DOTALL | re.MULTILINE)
        path.write_text(text, encoding='utf-8')
        n_tables += n
    assert n_tables == len(summarize.TABLES)
    summarize.update(copy)
    for path in paths:
        original = ROOT / path.relative_to(copy)
        assert (path.read_text(encoding='utf-8')
                == original.read_text(encoding='utf-8'))


def test_an_update_draws_the_committed_pictures(copy):
    pytest.importorskip('matplotlib')
    summarize.update(copy)
    drawn = {path.name for path in (copy / 'docs' / 'pictures').iterdir()}
    committed = {path.name for path in (ROOT / 'docs' / 'pictures').iterdir()}
    # train_cost.py draws its own.
    assert drawn == {'binarized.png', 'original.png', 'overview_dark.png',
                     'overview_light.png', 'paper.png'} <= committed
    for name in drawn:
        content = (copy / 'docs' / 'pictures' / name).read_bytes()
        assert content.startswith(b'\x89PNG')
        assert len(content) > 10000


def test_an_unknown_table_is_named_and_nothing_is_written(copy):
    readme = copy / 'README.md'
    before = '<!-- table: bits -->\nold\n<!-- end -->\n'
    readme.write_text(before, encoding='utf-8')
    page = copy / 'docs' / 'page.md'
    page.write_text('<!-- table: bite -->\n<!-- end -->\n', encoding='utf-8')
    with pytest.raises(ValueError, match=r"page\.md: .* no table 'bite'"):
        summarize.update(copy)
    assert readme.read_text(encoding='utf-8') == before


@pytest.mark.parametrize('after', [
    '', '\n<!-- table: search -->\n<!-- end -->\n'])
def test_a_table_without_an_end_is_named(after):
    with pytest.raises(ValueError, match="table 'bits' has no <!-- end -->"):
        summarize.with_tables('<!-- table: bits -->\nA paragraph.\n' + after)


def test_a_marker_within_a_line_is_text():
    text = 'A table stands between `<!-- table: NAME -->` and `<!-- end -->`.'
    assert summarize.with_tables(text) == text
