import errno
import io
import json
import os
import pickle
import zipfile

import chainer_compat
import chainer
import chainer.links as L
import numpy
import pytest
from chainer.training import Trainer, triggers, updaters

from net import MnistMLP
from optimizers.bop import Bop
from optimizers.fused_adam import FusedAdam
from prediction import model_file
from recipes import choices
from system import snapshot_file
from system.errors import InputError
from system.npz_reader import NpzReader
from training import reports
from training import run_state
from training import snapshots
from training.array_dataset import ArrayDataset
from training.array_iterator import ArrayIterator, send_arrays


def make_trainer(out, n_units=8, epochs=3, make_optimizer=FusedAdam):
    numpy.random.seed(0)
    dataset = ArrayDataset(
        numpy.random.uniform(0, 1, (20, 6)).astype(numpy.float32),
        numpy.random.randint(0, 3, 20).astype(numpy.int32))
    model = L.Classifier(MnistMLP(6, n_units, 3))
    optimizer = make_optimizer().setup(model)
    updater = updaters.StandardUpdater(
        ArrayIterator(dataset, 5), optimizer, converter=send_arrays)
    trainer = Trainer(updater, (epochs, 'epoch'), out=str(out))
    trainer.extend(run_state.RandomState())
    trainer.extend(reports.LogReport())
    trainer.extend(snapshots.save, name='snapshot', priority=-100,
                   trigger=snapshots.every(1, epochs))
    return trainer


@pytest.fixture
def folder(tmp_path):
    """A folder with the snapshots of a run of three epochs."""
    make_trainer(tmp_path).run()
    return tmp_path


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_last_two_snapshots_are_kept(folder):
    assert names(folder) == ['log', 'snapshot_iter_12', 'snapshot_iter_8']


def test_the_order_is_that_of_the_iterations_not_of_the_writes(folder):
    (folder / 'snapshot_iter_8').touch()
    for name in 'snapshot_iter_99.bak', 'snapshot_iter_٣', 'log':
        (folder / name).touch()
    (folder / 'snapshot_iter_010').touch()
    (folder / ('snapshot_iter_' + 200 * '9')).touch()
    assert [path[-2:] for path in snapshot_file.find(str(folder))] == [
        '99', '12', '10', '_8']


@pytest.mark.parametrize('name', ['.', 'nothing'])
def test_a_folder_without_snapshots_has_none(tmp_path, name):
    assert snapshot_file.find(str(tmp_path / name)) == []
    assert snapshots.load_newest(str(tmp_path / name), None, None) is None


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
            r'l1/W: \(8, 6\) in the file, \(9, 6\) here')):
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


DAMAGES = [
    lambda path: path.write_bytes(b''),
    lambda path: path.write_bytes(b'no snapshot'),
    lambda path: path.write_bytes(path.read_bytes()[:-100]),
    lambda path: path.write_bytes(path.read_bytes()[:1000]),
    lambda path: path.write_bytes(pickle.dumps(Malice())),
    lambda path: rewrite(path, **{
        'updater/iteration': numpy.array(Malice(), dtype=object)}),
    lambda path: zipfile.ZipFile(path, 'w').close(),
]
IDS = ['empty', 'text', 'no directory', 'truncated', 'pickle', 'object',
        'no members']


@pytest.mark.parametrize('damage', DAMAGES, ids=IDS)
def test_what_is_no_snapshot_is_named_and_nothing_of_it_runs(
        folder, damage, monkeypatch):
    monkeypatch.chdir(folder)
    path = folder / 'snapshot_iter_12'
    damage(path)
    with pytest.raises(ValueError, match='snapshot_iter_12'):
        snapshots.load(str(path), make_trainer(folder))
    assert 'malice' not in names(folder)


@pytest.mark.parametrize('damage', DAMAGES[:6], ids=IDS[:6])
def test_the_snapshot_before_a_damaged_one_is_used_with_a_warning(
        folder, damage):
    damage(folder / 'snapshot_iter_12')
    trainer, warnings = make_trainer(folder), []
    path = snapshots.load_newest(str(folder), trainer, warnings.append)
    assert path == str(folder / 'snapshot_iter_8')
    assert trainer.updater.iteration == 8
    assert len(warnings) == 1
    assert str(folder / 'snapshot_iter_12') in warnings[0]


def test_a_link_that_leads_to_nothing_is_no_newest_snapshot(folder):
    path = str(folder / 'snapshot_iter_12')
    assert snapshot_file.is_newest(path, str(folder))
    (folder / 'snapshot_iter_99').symlink_to('gone')
    assert not snapshot_file.is_newest(path, str(folder))


def test_a_snapshot_that_cannot_be_opened_is_not_passed_over(
        folder, monkeypatch):
    # A run that went on from the one before would remove it.
    def fail(path, *args, **kwargs):
        raise OSError(errno.EMFILE, 'Too many open files')

    monkeypatch.setattr(os, 'open', fail)
    with pytest.raises(InputError, match='snapshot_iter_12: Too many open'):
        snapshots.load_newest(str(folder), make_trainer(folder), None)


def test_a_run_after_a_damaged_snapshot_keeps_two_whole_ones(folder):
    (folder / 'snapshot_iter_12').write_bytes(b'')
    trainer = make_trainer(folder)
    snapshots.load_newest(str(folder), trainer, lambda line: None)
    trainer.extend(stop_at(10), priority=-1000, trigger=lambda _: True)
    with pytest.raises(KeyboardInterrupt):
        trainer.run()
    assert names(folder) == ['log', 'snapshot_iter_10', 'snapshot_iter_8']


def stop_at(iteration):
    def stop(trainer):
        if trainer.updater.iteration == iteration:
            snapshots.save(trainer)
            raise KeyboardInterrupt
    return stop


@pytest.mark.parametrize('iteration', [1, 6, 8, 11, 12])
def test_a_run_that_goes_on_from_any_iteration_is_the_uninterrupted_one(
        folder, tmp_path_factory, iteration):
    other = tmp_path_factory.mktemp('other')
    trainer = make_trainer(other)
    trainer.extend(stop_at(iteration), priority=-1000, trigger=lambda _: True)
    with pytest.raises(KeyboardInterrupt):
        trainer.run()
    trainer = make_trainer(other)
    numpy.random.seed(99)
    snapshots.load_newest(str(other), trainer, None)
    trainer.run()
    assert_same_snapshots(other / 'snapshot_iter_12',
                          folder / 'snapshot_iter_12')


def assert_same_snapshots(a, b):
    a, b = (snapshot_file.read(str(path)) for path in (a, b))
    assert a.keys() == b.keys()
    for name in a.keys() - {'_snapshot_elapsed_time',
                            'extensions/LogReport/_log'}:
        numpy.testing.assert_array_equal(a[name], b[name], err_msg=name)
    a, b = (json.loads(str(x['extensions/LogReport/_log'])) for x in (a, b))
    for entry in a + b:
        del entry['elapsed_time']
    assert a == b


def test_nothing_is_loaded_where_all_are_damaged(folder):
    for name in 'snapshot_iter_8', 'snapshot_iter_12':
        (folder / name).write_bytes(b'')
    with pytest.raises(ValueError, match=r'no snapshot in .* can be read'):
        snapshots.load_newest(str(folder), make_trainer(folder), str)


def test_a_whole_snapshot_of_another_network_is_no_damage(folder):
    with pytest.raises(ValueError, match='l1/W'):
        snapshots.load_newest(str(folder), make_trainer(folder, 9), None)


ORDER = 'updater/iterator:main/order'
ADAM = 'updater/optimizer:main/predictor/l2/W'


@pytest.mark.parametrize(('changes', 'message'), [
    ({'updater/model:main/predictor/l9/W': numpy.zeros(3)},
     r'l9/W: \(3,\) in the file, not here'),
    ({'updater/model:main/predictor/l2/W': numpy.zeros((8, 8))},
     'l2/W: float64 in the file, float32 here'),
    ({f'{ADAM}/m': numpy.zeros((8, 7), 'f')},
     r'm: \(8, 7\) in the file, \(8, 8\) here'),
    ({f'{ADAM}/m': numpy.zeros((8, 8), 'i')},
     'm: int32 in the file, float32 here'),
    ({f'{ADAM}/m': numpy.zeros((), 'f')}, r'm: \(\) in the file'),
    ({f'{ADAM}/x': numpy.zeros((8, 7), 'f')}, 'l2/W/x: .* not here'),
    ({ORDER: numpy.arange(20) + 1}, 'order of the examples is damaged'),
    ({ORDER: numpy.arange(19)}, r'order: \(19,\) in the file, \(20,\) here'),
    ({'updater/iterator:main/current_position': 20}, 'order of the examples'),
    ({'updater/iteration': -1}, 'iteration: -1 in the file'),
    ({'updater/iteration': numpy.arange(2)}, r'\(2,\) in the file, \(\) here'),
    ({'updater/iteration': 'x'}, 'snapshot_iter_12'),
    ({'extensions/RandomState/position': 10 ** 6}, 'random numbers'),
    ({'extensions/RandomState/key': numpy.zeros(9, 'f')}, 'snapshot_iter_12'),
    ({'extensions/LogReport/_log': '{"a": 1}'}, 'the log is damaged'),
    ({'extensions/LogReport/_log': '[{"epoch": "x"}]'}, 'the log is damaged'),
    ({'extensions/LogReport/_log': 5000 * '['}, 'snapshot_iter_12'),
    ({'none': numpy.frombuffer(b'[[]]', 'u1')}, 'none in .*snapshot_iter_12'),
    ({'none': numpy.frombuffer(b'["updater/iteration"]', 'u1')},
     'snapshot_iter_12'),
    ({'none': numpy.frombuffer(
        b'["updater/model:main/predictor/l2/W"]', 'u1')},
     r'l2/W: empty in the file, \(8, 8\) here'),
], ids=str)
def test_numbers_that_no_run_has_are_refused(folder, changes, message):
    path = folder / 'snapshot_iter_12'
    rewrite(path, **changes)
    with pytest.raises(ValueError, match=message):
        snapshots.load(str(path), make_trainer(folder))


def test_an_array_that_is_missing_is_named(folder):
    path = folder / 'snapshot_iter_12'
    for name, message in [
            ('updater/model:main/predictor/l2/b', 'l2/b: not in the file'),
            ('extensions/RandomState/gauss', 'gauss is not in the file'),
            ('extensions/LogReport/_trigger/previous_iteration',
             'previous value of iteration is not saved'),
            (f'{ADAM}/v', 'l2/W/v: not in the file')]:
        content = dict(numpy.load(path))
        del content[name]
        with open(folder / 'other', 'wb') as f:
            numpy.savez(f, **content)
        with pytest.raises(ValueError, match=message):
            snapshots.load(str(folder / 'other'), make_trainer(folder))


def test_none_is_kept_without_pickle(tmp_path):
    def make():
        trainer = make_trainer(tmp_path)
        model = trainer.updater.get_optimizer('main').target
        with model.init_scope():
            model.unused = L.Linear(None, 2)
        trainer.extend(lambda trainer: None, name='x', trigger=(
            triggers.MinValueTrigger('main/loss', (9, 'epoch'))))
        return trainer

    trainer = make()
    trainer.run()
    path = str(tmp_path / 'snapshot_iter_12')
    with numpy.load(path, allow_pickle=False) as npz:
        arrays = dict(npz)
    assert 'unused/W' in arrays['none'].tobytes().decode()
    trainer = make()
    snapshots.load(path, trainer)
    assert trainer.updater.get_optimizer('main').target.unused.W.array is None


def test_parameters_that_are_not_used_and_frozen_are_no_obstacle(tmp_path):
    def make():
        trainer = make_trainer(tmp_path)
        model = trainer.updater.get_optimizer('main').target
        with model.init_scope():
            model.unused = L.Linear(2, 2)
        trainer.updater.get_optimizer('main').setup(model)
        model.predictor.l2.b.update_rule.enabled = False
        return trainer

    make().run()
    snapshots.load(str(tmp_path / 'snapshot_iter_8'), make())


def test_a_full_disk_leaves_what_was_there(folder, monkeypatch):
    trainer = make_trainer(folder, epochs=4)
    snapshots.load_newest(str(folder), trainer, None)
    before = names(folder)

    def fsync(descriptor):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(os, 'fsync', fsync)
    with pytest.raises(OSError, match='No space left') as info:
        trainer.run(show_loop_exception_msg=False)
    assert info.value.filename == str(folder / 'log')
    assert names(folder) == before


def test_cupys_state_is_a_function_of_the_seed_and_the_iteration(tmp_path):
    seeds = []

    class Module:
        class random:
            seed = seeds.append

    def make(seed):
        trainer = make_trainer(tmp_path)
        extension = run_state.RandomState(seed, Module)
        trainer.extend(extension, name='cupy')
        return trainer

    make(3).run()
    assert seeds == [3 << 32 | n for n in range(1, 13)]
    del seeds[:]
    trainer = make(4)
    snapshots.load(str(tmp_path / 'snapshot_iter_8'), trainer)
    trainer.run()
    assert seeds == [3 << 32 | n for n in range(8, 13)]


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


# Weights of +1 and -1


def make_bop_trainer(out, epochs=3):
    trainer = make_trainer(
        out, epochs=epochs,
        make_optimizer=lambda: Bop(gamma=.1, threshold=1e-4))
    trainer.extend(run_state.Settings(
        {**choices.RECIPES['bop'], 'unit': 8}))
    return trainer


def test_weights_that_are_signs_are_kept_as_bits(tmp_path):
    trainer = make_bop_trainer(tmp_path)
    trainer.run()
    path = str(tmp_path / 'snapshot_iter_12')
    name = f'{snapshot_file.NET}l1/W'
    with numpy.load(path) as f:
        assert (f[name].dtype, f[name].shape) == (numpy.uint8, (8, 1))
        moments = f['updater/optimizer:main/predictor/l1/W/m']
        assert moments.dtype == numpy.float32
        assert 'updater/optimizer:main/predictor/l1/W/v' not in f
    W = trainer.updater.get_optimizer('main').target.predictor.l1.W.array
    read = snapshot_file.read(path)
    assert snapshot_file.SIGNS not in read
    assert read[name].dtype == numpy.float32
    numpy.testing.assert_array_equal(read[name], W)
    with NpzReader(path) as npz:
        numpy.testing.assert_array_equal(
            snapshot_file.read_net(npz)['l1/W'], W)


def test_a_run_with_bop_goes_on_as_if_uninterrupted(tmp_path):
    whole, parts = (make_bop_trainer(tmp_path / name)
                    for name in ('whole', 'parts'))
    whole.run()
    make_bop_trainer(tmp_path / 'parts', epochs=1).run()
    assert snapshots.load_newest(str(tmp_path / 'parts'), parts, None)
    assert parts.updater.iteration == 4
    parts.run()
    a, b = (snapshot_file.read(str(tmp_path / name / 'snapshot_iter_12'))
            for name in ('whole', 'parts'))
    assert a.keys() == b.keys()
    for name in a:
        if 'elapsed_time' not in name and 'LogReport' not in name:
            numpy.testing.assert_array_equal(a[name], b[name], err_msg=name)


def test_a_snapshot_with_bop_is_a_third_of_adams():
    random = numpy.random.RandomState(0)
    W = random.standard_normal((300, 784)).astype('f')
    adam = {f'{snapshot_file.NET}l1/W': W, 'm': W, 'v': W}
    bop = snapshot_file.with_signs_as_bits(
        {f'{snapshot_file.NET}l1/W': numpy.where(W > 0, 1, -1).astype('f'),
         'm': W})
    sizes = [sum(array.nbytes for array in arrays.values())
             for arrays in (adam, bop)]
    assert sizes[1] < .345 * sizes[0]


@pytest.mark.parametrize('change', [
    {'l1/W': numpy.array([[1, -1, 0]], 'f')},
    {'l1/W': numpy.array([[1, numpy.nan]], 'f')},
    {'l1/W': numpy.ones((2, 2), 'd')}, {'l1/W': numpy.ones((0, 2), 'f')},
    {'bn1/gamma': numpy.ones(3, 'f')}])
def test_other_arrays_stay_as_they_are(change):
    arrays = {snapshot_file.NET + name: array
              for name, array in change.items()}
    assert snapshot_file.with_signs_as_bits(arrays) == arrays


@pytest.mark.parametrize(('columns', 'message'), [
    (b'{', 'signs in .*damaged'), (b'[1]', 'no object'),
    (b'{"%s": "6"}', 'no shapes'), (b'{"%s": true}', 'no shapes'),
    (b'{"%s": 0}', 'no shapes'), (b'{"%s": -3}', 'no shapes'),
    (b'{"%s": [2, -3]}', 'no shapes'), (b'{"%s": [6, null]}', 'no shapes'),
    (b'{"%s": 9}', r'9 columns of bits in shape \(8, 1\)'),
    (b'{"%s": [3, 3]}', r'9 columns of bits in shape \(8, 1\)'),
    (b'{"%s": [2, 3]}', r'\(8, 2, 3\) in the file'),
    (b'{"updater/iteration": 6}', 'updater/iteration in .*dtype'),
    (b'{}', r'\(8, 1\) in the file')])
def test_bits_that_are_damaged_are_refused(columns, message, tmp_path):
    make_bop_trainer(tmp_path).run()
    path = str(tmp_path / 'damaged')
    with numpy.load(str(tmp_path / 'snapshot_iter_12')) as f:
        arrays = dict(f)
    columns = columns.replace(b'%s', f'{snapshot_file.NET}l1/W'.encode())
    arrays[snapshot_file.SIGNS] = numpy.frombuffer(columns, 'u1')
    with open(path, 'wb') as f:
        numpy.savez(f, **arrays)
    with pytest.raises(InputError, match=message):
        snapshots.load(path, make_bop_trainer(tmp_path / 'other'))
    if columns != b'{"updater/iteration": 6}':
        with pytest.raises(InputError):
            model_file.read(path)


@pytest.mark.parametrize('shape', [(8, 6), (5, 2, 3, 3), (3, 1, 5, 1)])
def test_signs_of_each_shape_are_read_as_they_were(shape, tmp_path):
    name = f'{snapshot_file.NET}l1/W'
    W = numpy.random.RandomState(0).choice([-1, 1], shape).astype('f')
    kept = snapshot_file.with_signs_as_bits({name: W})
    assert kept[name].nbytes == len(W) * -(-W[0].size // 8)
    forms = [kept]
    if W.ndim == 2:
        # As files before convolutions had it.
        older = json.dumps({name: shape[1]}).encode()
        forms.append(
            {**kept, snapshot_file.SIGNS: numpy.frombuffer(older, 'u1')})
    for arrays in forms:
        path = str(tmp_path / 'snapshot')
        with open(path, 'wb') as f:
            numpy.savez(f, **arrays)
        read = snapshot_file.read(path)
        numpy.testing.assert_array_equal(read[name], W)
        assert read[name].dtype == W.dtype


def test_bits_that_unpack_to_more_than_the_file_can_hold_are_refused(
        tmp_path):
    path = str(tmp_path / 'damaged')
    name = f'{snapshot_file.NET}l1/W'
    with open(path, 'wb') as f:
        numpy.savez_compressed(f, **{
            name: numpy.zeros((1 << 10, 1 << 10), 'u1'),
            snapshot_file.SIGNS: numpy.frombuffer(
                f'{{"{name}": 8192}}'.encode(), 'u1')})
    with pytest.raises(InputError, match='8192 columns of bits'):
        snapshot_file.read(path)
