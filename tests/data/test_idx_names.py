"""EMNIST's, QMNIST's and torchvision's files: names, labels, classes."""
import gzip
import struct

import numpy
import pytest

from data import description, idx_names, sets
from data.reading import Reading
from system.errors import InputError

# One line for each class: its label, and the numbers of its letters.
LETTERS = ''.join(f'{i + 1} {65 + i} {97 + i}\n' for i in range(4))


def idx_file(array, kind=8):
    """The content of an IDX file: 8 means bytes, 12 integers."""
    return struct.pack(f'>{1 + array.ndim}I', kind << 8 | array.ndim,
                       *array.shape) + array.astype(
                           {8: '>u1', 12: '>i4'}[kind]).tobytes()


def write_set(folder, prefix, n_train=20, n_test=8, labels=(1, 2, 3, 4),
              shape=(3, 4), compressed=True):
    """Writes a set as EMNIST is distributed; returns both of its parts."""
    random = numpy.random.RandomState(len(prefix))
    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    for part, n in ('train', n_train), ('test', n_test):
        images = random.randint(0, 256, (n, *shape)).astype(numpy.uint8)
        parts.append((images, numpy.resize(labels, n).astype(numpy.uint8)))
        for name, array in zip(('images-idx3', 'labels-idx1'), parts[-1]):
            path = folder / f'{prefix}-{part}-{name}-ubyte'
            content = idx_file(array)
            if compressed:
                path = path.with_name(path.name + '.gz')
                content = gzip.compress(content, 1)
            path.write_bytes(content)
    return parts


@pytest.mark.parametrize('compressed', [False, True])
def test_a_prefix_picks_one_of_several_sets(tmp_path, compressed):
    for prefix in 'emnist-digits', 'emnist-letters':
        parts = write_set(tmp_path, prefix, compressed=compressed)
    image_set = sets.read(str(tmp_path / 'emnist-letters'))
    for (images, labels), (x, t) in zip(image_set.parts, parts):
        numpy.testing.assert_array_equal(images, x.reshape(-1, 12))
        numpy.testing.assert_array_equal(labels, t - 1)
    with pytest.raises(InputError, match=(
            r'holds several data sets: choose .*/emnist-digits or '
            r'.*/emnist-letters')):
        sets.read(str(tmp_path))
    with pytest.raises(InputError, match=r'no folder .*emnist-byclas'):
        sets.read(str(tmp_path / 'emnist-byclass'))
    assert idx_names.locate(f'{tmp_path}/emnist-digits') == (
        str(tmp_path), 'emnist-digits')


def test_files_without_a_prefix_come_first_and_one_prefix_needs_no_choice(
        tmp_path):
    write_set(tmp_path, 'emnist-digits')
    assert idx_names.locate(str(tmp_path)) == (str(tmp_path), 'emnist-digits')
    (tmp_path / 'train-images-idx3-ubyte').write_bytes(b'')
    assert idx_names.locate(str(tmp_path)) == (str(tmp_path), '')


def test_a_prefix_is_found_in_the_current_folder(tmp_path, monkeypatch):
    write_set(tmp_path, 'emnist-digits')
    monkeypatch.chdir(tmp_path)
    assert idx_names.locate('emnist-digits') == ('.', 'emnist-digits')


@pytest.mark.parametrize(('at', 'path'), [
    ('root/EMNIST/raw', 'root/EMNIST/raw/emnist-letters'),
    ('root/EMNIST/raw', 'root/EMNIST/emnist-letters'),
    ('root/EMNIST/raw', 'root/EMNIST'),
])
def test_torchvisions_folders_are_known(tmp_path, at, path):
    write_set(tmp_path / at, 'emnist-letters', compressed=False)
    assert sets.read(str(tmp_path / path)).sizes == (12, 4)


def test_mnists_names_in_torchvisions_folder(tmp_path):
    from tests.helpers import write_random_data
    raw = tmp_path / 'root' / 'MNIST' / 'raw'
    raw.mkdir(parents=True)
    write_random_data(raw, 20, 9)
    image_set = sets.read(str(tmp_path / 'root' / 'MNIST'))
    assert image_set.sizes == (30, 3)
    assert image_set.description == description.numbered((5, 6), 3)


def test_a_mapping_names_the_classes_and_there_is_no_empty_one(tmp_path):
    write_set(tmp_path, 'emnist-letters')
    plain = sets.read(str(tmp_path))
    assert plain.description.classes == ('1', '2', '3', '4')
    (tmp_path / 'emnist-letters-mapping.txt').write_text(LETTERS)
    named = sets.read(str(tmp_path))
    assert named.description.classes == ('A', 'B', 'C', 'D')
    assert named.sizes == (12, 4)
    assert named.checksum == plain.checksum
    # Names that no image has are classes all the same.
    (tmp_path / 'emnist-letters-mapping.txt').write_text('0 48\n' + LETTERS)
    named = sets.read(str(tmp_path))
    assert named.description.classes == ('0', 'A', 'B', 'C', 'D')
    assert named.train[1].tolist() == [1, 2, 3, 4] * 5


def test_labels_with_an_image_of_0_stay_as_they_are(tmp_path):
    write_set(tmp_path, 'emnist-x', labels=[0, 1, 2])
    image_set = sets.read(str(tmp_path))
    assert image_set.description.classes == ('0', '1', '2')
    assert image_set.test[1].tolist() == [0, 1, 2, 0, 1, 2, 0, 1]


@pytest.mark.parametrize('text', [
    '', '1 65\n', '1\n2\n', '1 x\n2 66\n', '1 65\n1 66\n', '1 65\n2 65\n',
    '256 65\n1 66\n', '-1 65\n1 66\n', '1 10\n2 66\n', '1 32\n2 66\n',
    '1 99999999999\n2 66\n', '1 -5\n2 66\n', '1 55296\n2 66\n',
    '1 ' + '9' * 5000 + '\n', '\0\n', '1 65 ' * 20000])
def test_a_mapping_that_is_none_is_named(tmp_path, text):
    write_set(tmp_path, 'emnist-letters')
    path = tmp_path / 'emnist-letters-mapping.txt'
    path.write_text(text)
    with pytest.raises(InputError, match=r'emnist-letters-mapping\.txt'):
        sets.read(str(tmp_path))


def test_a_label_without_a_name_is_refused(tmp_path):
    write_set(tmp_path, 'emnist-letters', labels=[1, 2, 3, 4, 7])
    (tmp_path / 'emnist-letters-mapping.txt').write_text(LETTERS)
    with pytest.raises(InputError, match='have the label 7, which is none'):
        sets.read(str(tmp_path))


def test_images_are_transposed_where_the_flag_or_the_net_says_so(tmp_path):
    (x, _), (y, _) = write_set(tmp_path, 'emnist-digits', shape=(3, 4))
    lines = []
    turned = sets.read(str(tmp_path), Reading(transposed=True),
                       say=lines.append)
    assert turned.description.shape == (4, 3)
    for images, original in (turned.train[0], x), (turned.test[0], y):
        numpy.testing.assert_array_equal(
            images.reshape(-1, 4, 3), original.transpose(0, 2, 1))
    assert lines == []
    assert turned.description.to_json()['reading'] == {'transposed': True}
    again = sets.read(str(tmp_path), known=turned.description,
                      say=lines.append)
    assert again.checksum == turned.checksum
    assert again.description == turned.description
    assert lines == [
        'images are transposed, as those that the net was trained on']
    other = sets.read(str(tmp_path), Reading(transposed=False),
                      turned.description)
    assert other.description.reading == Reading()
    assert other.checksum != turned.checksum
    sets.read(str(tmp_path), say=lines.append)
    assert "EMNIST's images lie on their sides" in lines[1]


def write_qmnist(folder, labels, kind=12):
    random = numpy.random.RandomState(0)
    tables = []
    for part, n in ('train', 12), ('test', 6):
        images = random.randint(0, 256, (n, 3, 4)).astype(numpy.uint8)
        table = random.randint(0, 1 << 30, (n, 8))
        table[:, 0] = numpy.resize(labels, n)
        tables.append(table)
        for name, content in [
                ('images-idx3-ubyte', idx_file(images)),
                ('labels-idx2-int', idx_file(table, kind))]:
            (folder / f'qmnist-{part}-{name}.gz').write_bytes(
                gzip.compress(content))
    return tables


def test_the_class_is_the_first_column_of_qmnists_table(tmp_path):
    train, test = write_qmnist(tmp_path, [0, 1, 2])
    image_set = sets.read(str(tmp_path))
    assert image_set.sizes == (12, 3)
    assert image_set.train[1].dtype == numpy.uint8
    assert image_set.train[1].tolist() == train[:, 0].tolist()
    assert image_set.test[1].tolist() == test[:, 0].tolist()


@pytest.mark.parametrize('label', [-1, 256, 1 << 30])
def test_a_class_that_is_no_byte_is_refused(tmp_path, label):
    write_qmnist(tmp_path, [0, 1, label])
    with pytest.raises(InputError, match='0 to 255 are allowed'):
        sets.read(str(tmp_path))


@pytest.mark.parametrize(('content', 'match'), [
    (b'\0\0\x0c\2\0', 'ends within its header'),
    (b'\0\0\x0c\1' + b'\0' * 8, 'no IDX file of 2 axes of integers'),
    (struct.pack('>3I', 0xc02, 12, 8) + b'\0' * 383, 'but holds 383'),
    (struct.pack('>3I', 0xc02, 12, 8) + b'\0' * 385, 'but holds more'),
    (struct.pack('>3I', 0xc02, 12, 0), 'has no columns'),
    (struct.pack('>3I', 0xc02, 11, 1) + b'\0' * 44, '12 images, but .* 11'),
    (struct.pack('>3I', 0xc02, (1 << 32) - 1, (1 << 32) - 1),
     r'says 4294967295 x 4294967295 integers, \d+ bytes, but holds 0'),
    (struct.pack('>3I', 0xc02, 0, (1 << 32) - 1), '12 images, but .* 0 '),
    (struct.pack('>3I', 0xc02, (1 << 32) - 1, 0), 'has no columns'),
])
def test_a_table_that_does_not_fit_its_header_is_named(
        tmp_path, content, match):
    write_qmnist(tmp_path, [0, 1])
    (tmp_path / 'qmnist-train-labels-idx2-int.gz').write_bytes(
        gzip.compress(content))
    with pytest.raises(InputError, match=match):
        sets.read(str(tmp_path))


def test_what_is_missing_of_a_set_with_a_prefix_is_named(tmp_path):
    write_set(tmp_path, 'emnist-digits', compressed=False)
    (tmp_path / 'emnist-digits-test-labels-idx1-ubyte').unlink()
    with pytest.raises(InputError, match=(
            'holds neither emnist-digits-test-labels-idx1-ubyte nor')):
        sets.read(str(tmp_path))


@pytest.mark.parametrize(('how', 'preparation'), [
    (Reading(), 'digit'), (Reading(plain=True), 'plain'),
    (Reading(plain=False), 'digit')])
def test_the_preparation_of_images_like_mnists_is_a_flag(
        tmp_path, how, preparation):
    write_set(tmp_path, 'kmnist', labels=[0, 1], shape=(28, 28))
    found = sets.read(str(tmp_path), how).description
    assert found.preparation == preparation
    assert sets.read(str(tmp_path), known=found).description == found


def test_other_images_are_plain(tmp_path):
    write_set(tmp_path, 'small', labels=[0, 1])
    assert sets.read(str(tmp_path)).description.preparation == 'plain'
    with pytest.raises(InputError, match='--no-plain is for images of 28 x'):
        sets.read(str(tmp_path), Reading(plain=False))


@pytest.mark.parametrize('name', ['size', 'test_share', 'split_seed'])
def test_flags_of_pictures_are_refused(tmp_path, name):
    write_set(tmp_path, 'small', labels=[0, 1])
    flag = name.replace('_', '-')
    with pytest.raises(InputError, match=f'--{flag} is for folders of pictu'):
        sets.read(str(tmp_path), Reading(**{name: 1}))
    with pytest.raises(InputError, match=f'--{flag} says how --data is read'):
        sets.read(None, Reading(**{name: 1}))
