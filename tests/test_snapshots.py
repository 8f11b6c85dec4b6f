import io
import pickle
import zipfile

import chainer_compat  # noqa: F401  (before chainer)
import chainer
import chainer.links as L
import numpy
import pytest
from chainer import training
from chainer.datasets import TupleDataset

import snapshots
from array_iterator import ArrayIterator, send_arrays
from fused_adam import FusedAdam
from net import MnistMLP


def make_trainer(out, n_units=8, epochs=3):
    numpy.random.seed(0)
    dataset = TupleDataset(
        numpy.random.uniform(0, 1, (20, 6)).astype(numpy.float32),
        numpy.random.randint(0, 3, 20).astype(numpy.int32))
    model = L.Classifier(MnistMLP(6, n_units, 3))
    optimizer = FusedAdam().setup(model)
    updater = training.updaters.StandardUpdater(
        ArrayIterator(dataset, 5), optimizer, converter=send_arrays)
    trainer = training.Trainer(updater, (epochs, 'epoch'), out=str(out))
    trainer.extend(snapshots.snapshot())
    return trainer


@pytest.fixture
def folder(tmp_path):
    """A folder with the snapshots of a run of three epochs."""
    make_trainer(tmp_path).run()
    return tmp_path


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_last_two_snapshots_are_kept(folder):
    assert names(folder) == ['snapshot_iter_12', 'snapshot_iter_8']


def test_newest_is_that_of_the_latest_iteration_not_of_the_latest_write(
        folder):
    (folder / 'snapshot_iter_8').touch()
    (folder / 'snapshot_iter_99.bak').touch()
    assert snapshots.newest(str(folder)) == str(folder / 'snapshot_iter_12')


def test_newest_of_a_folder_without_snapshots_is_none(tmp_path):
    assert snapshots.newest(str(tmp_path)) is None


def test_a_loaded_trainer_is_the_saved_one(folder):
    trainer = make_trainer(folder)
    snapshots.load(str(folder / 'snapshot_iter_12'), trainer)
    assert trainer.updater.iteration == 12
    saved = numpy.load(folder / 'snapshot_iter_12')
    for name, param in trainer.updater.get_optimizer(
            'main').target.namedparams():
        numpy.testing.assert_array_equal(
            param.array, saved[f'updater/model:main{name}'])
        numpy.testing.assert_array_equal(
            param.update_rule.state['m'],
            saved[f'updater/optimizer:main{name}/m'])


def test_a_snapshot_of_another_size_says_what_differs(folder):
    with pytest.raises(ValueError, match=(
            r'snapshot_iter_12 is no snapshot of this network: '
            r'/predictor/\w+/\w+ is \([\d, ]+\) in the file, \([\d, ]+\) ')):
        snapshots.load(str(folder / 'snapshot_iter_12'),
                       make_trainer(folder, n_units=9))


def rewrite(path, **members):
    with numpy.load(path) as f:
        content = dict(f)
    content.update(members)
    with open(path, 'wb') as f:
        numpy.savez(f, **content)


class Malice:

    def __reduce__(self):
        return open, ('malice', 'w')


@pytest.mark.parametrize('damage', [
    lambda path: path.write_bytes(b''),
    lambda path: path.write_bytes(b'no snapshot'),
    lambda path: path.write_bytes(path.read_bytes()[:-100]),
    lambda path: path.write_bytes(path.read_bytes()[:1000]),
    lambda path: path.write_bytes(pickle.dumps(Malice())),
    lambda path: rewrite(path, **{
        'updater/iteration': numpy.array(Malice(), dtype=object)}),
    lambda path: zipfile.ZipFile(path, 'w').close(),
], ids=['empty', 'text', 'no directory', 'truncated', 'pickle', 'object',
        'no members'])
def test_what_is_no_snapshot_is_named_and_nothing_of_it_runs(
        folder, damage, monkeypatch):
    monkeypatch.chdir(folder)
    path = folder / 'snapshot_iter_12'
    damage(path)
    with pytest.raises(ValueError, match='snapshot_iter_12 is no snapshot'):
        snapshots.load(str(path), make_trainer(folder))
    assert 'malice' not in names(folder)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r'cannot read .*nothing: No such'):
        snapshots.load(str(tmp_path / 'nothing'), make_trainer(tmp_path))


def test_snapshots_are_not_compressed(folder):
    content = io.BytesIO((folder / 'snapshot_iter_12').read_bytes())
    with zipfile.ZipFile(content) as archive:
        assert {info.compress_type for info in archive.infolist()} == {
            zipfile.ZIP_STORED}


def test_chainers_load_reads_the_snapshots(folder):
    trainer = make_trainer(folder)
    chainer.serializers.load_npz(str(folder / 'snapshot_iter_12'), trainer)
    assert trainer.updater.iteration == 12
