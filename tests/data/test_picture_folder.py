"""A folder of pictures: which there are, which are held out, what is wrong."""
import os
import random as names_random
import shutil

import numpy
import pytest

from data import digit_image, picture_folder, sets
from data.description import Description
from data.reading import Reading
from system.errors import InputError

Image = pytest.importorskip('PIL.Image', reason='needs Pillow')

PLAIN = Reading(plain=True, size=(6, 5))


def pixels(seed, size=(6, 5), background=10):
    """A noisy picture with an edge of the background."""
    image = numpy.full(size, background, numpy.uint8)
    image[1:-1, 1:-1] = numpy.random.RandomState(seed).randint(
        0, 256, (size[0] - 2, size[1] - 2))
    return image


def save(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


@pytest.fixture
def folder(tmp_path):
    """A folder of two classes, of 10 and 20 pictures, to be split."""
    folder = tmp_path / 'animals'
    for i in range(30):
        name = 'cat' if i < 10 else 'a dog'
        save(folder / name / f'{i:02}.png', pixels(i))
    return folder


def read(folder, how=PLAIN, known=None, say=None):
    return sets.read(str(folder), how, known, say)


def rows(part):
    """The images of a part with their labels, whatever their order."""
    return sorted((int(label), image.tobytes())
                  for image, label in zip(*part))


def test_every_picture_is_there_once_with_its_class(folder):
    lines = []
    image_set = read(folder, say=lines.append)
    assert image_set.description == Description(
        (6, 5), ('a dog', 'cat'), 'plain', 10,
        Reading(test_share=.2, split_seed=0))
    assert image_set.sizes == (30, 2)
    for part, counts in (image_set.train, [16, 8]), (image_set.test, [4, 2]):
        images, labels = part
        assert images.dtype == labels.dtype == numpy.uint8
        assert numpy.bincount(labels).tolist() == counts
    assert sorted(rows(image_set.train) + rows(image_set.test)) == sorted(
        (int(i < 10), pixels(i).tobytes()) for i in range(30))
    assert lines == [
        f'reading 30 pictures in {folder}',
        '24 of them to train with, 6 to test with: --test-share 0.2, '
        '--split-seed 0']


def test_classes_are_mixed_for_the_last_ones_may_be_held_out(folder):
    labels = read(folder).train[1]
    assert 0 < (numpy.diff(labels.astype(int)) != 0).sum() > 4
    assert len(set(labels[-8:].tolist())) == 2


def test_names_places_and_order_of_files_change_nothing(
        folder, tmp_path, monkeypatch):
    expected = read(folder)
    for i, path in enumerate(sorted((folder / 'cat').iterdir())):
        inner = folder / 'cat' / 'kittens' / 'more'
        inner.mkdir(parents=True, exist_ok=True)
        path.rename(inner / f'{(7 * i) % 10} renamed.PNG')
    listdir = os.listdir
    monkeypatch.setattr(os, 'listdir', lambda path='.': names_random.sample(
        listdir(path), len(listdir(path))))
    actual = read(folder)
    for ours, others in zip(actual.parts, expected.parts):
        for a, b in zip(ours, others):
            numpy.testing.assert_array_equal(a, b)
    assert actual.checksum == expected.checksum


def test_share_and_seed_choose_and_are_kept(folder):
    first = read(folder)
    other = read(folder, PLAIN._replace(test_share=.5, split_seed=3))
    assert numpy.bincount(other.test[1]).tolist() == [10, 5]
    again = read(folder, PLAIN._replace(split_seed=3))
    assert rows(again.test) != rows(first.test)
    known = Description.to_json(other.description)
    assert known['reading'] == {'test_share': .5, 'split_seed': 3}
    same = read(folder, Reading(), other.description)
    assert same.checksum == other.checksum
    assert same.description == other.description
    # A flag is stronger.
    assert rows(read(folder, Reading(split_seed=0, test_share=.2),
                     other.description).test) == rows(first.test)


def test_copies_are_never_on_both_sides(folder):
    for i in range(10):
        for k in range(3):
            shutil.copy(folder / 'cat' / f'{i:02}.png',
                        folder / 'cat' / f'copy_{i}_{k}.png')
    for seed in range(5):
        image_set = read(folder, PLAIN._replace(split_seed=seed))
        assert len(image_set.train[0]) + len(image_set.test[0]) == 60
        assert not set(rows(image_set.train)) & set(rows(image_set.test))


@pytest.mark.parametrize(('share', 'n'), [(.01, 1), (.99, 9), (.25, 2)])
def test_a_picture_of_each_class_is_on_either_side(folder, share, n):
    image_set = read(folder, PLAIN._replace(test_share=share))
    assert (image_set.test[1] == 1).sum() == n


@pytest.mark.parametrize(('train', 'test'), [
    ('train', 'test'), ('Training', 'TESTING'), ('train', 'val'),
    ('training', 'Valid'), ('TRAIN', 'validation')])
def test_train_and_test_are_folders(folder, tmp_path, train, test):
    root = tmp_path / 'root'
    root.mkdir()
    shutil.copytree(folder, root / train)
    save(root / test / 'cat' / 'x.png', pixels(99))
    save(root / test / 'cat' / 'y.png', pixels(98))
    lines = []
    image_set = read(root, say=lines.append)
    assert rows(image_set.train) == sorted(
        (int(i < 10), pixels(i).tobytes()) for i in range(30))
    assert rows(image_set.test) == sorted(
        (1, pixels(i).tobytes()) for i in (98, 99))
    assert image_set.description.reading == Reading()
    assert lines == [f'reading 32 pictures in {root}']


def test_test_is_taken_before_val(folder, tmp_path):
    root = tmp_path / 'root'
    root.mkdir()
    for part in 'val', 'train', 'test':
        shutil.copytree(folder, root / part)
    shutil.rmtree(root / 'test' / 'cat')
    assert (read(root).test[1] == 0).all()


def test_numbers_are_in_their_order_and_others_in_that_of_letters(tmp_path):
    for name in '10', '9', '0', '010':
        for i in range(2):
            save(tmp_path / 'n' / name / f'{i}.png',
                 pixels(int(name) * 2 + i + len(name)))
    assert read(tmp_path / 'n').description.classes == ('0', '9', '010', '10')
    save(tmp_path / 'n' / 'x' / 'a.png', pixels(70))
    save(tmp_path / 'n' / 'x' / 'b.png', pixels(71))
    assert read(tmp_path / 'n').description.classes == (
        '0', '010', '10', '9', 'x')


def test_a_letter_is_the_same_however_a_system_writes_it(tmp_path):
    for name in 'train/u\u0308', 'test/\u00fc', 'train/z':
        for i in range(2):
            save(tmp_path / 'd' / name / f'{i}.png', pixels(i + len(name)))
    image_set = read(tmp_path / 'd')
    assert image_set.description.classes == ('z', '\u00fc')
    assert image_set.test[1].tolist() == [1, 1]


def test_hidden_files_and_texts_are_passed_over(folder):
    for name in '.DS_Store', 'Thumbs.db', '.hidden.png', 'desktop.ini':
        (folder / 'cat' / name).write_text('no picture')
    (folder / '.git').mkdir()
    (folder / '__MACOSX').mkdir()
    lines = []
    expected = read(folder, say=lines.append).checksum
    assert not any('passed over' in line for line in lines)
    (folder / 'README.txt').write_text('a text')
    (folder / 'cat' / 'notes.md').write_text('a text')
    os.symlink('..', folder / 'cat' / 'round')
    assert read(folder, say=lines.append).checksum == expected
    assert (f'passed over {folder}/README.txt and 1 more: not named as '
            'pictures are') in lines


@pytest.mark.parametrize('background', [0, 60, 200, 255])
def test_one_polarity_is_that_of_most_pictures_to_train_with(
        tmp_path, background):
    for i in range(20):
        level = background if i % 5 else 255 - background
        save(tmp_path / 'd' / 'ab'[i % 2] / f'{i}.png',
             pixels(i, background=level))
    image_set = read(tmp_path / 'd')
    assert image_set.description.background == background
    light = background > 127
    assert sorted(rows(image_set.train) + rows(image_set.test)) == sorted(
        (i % 2, (255 - pixel if light else pixel).tobytes())
        for i in range(20)
        for pixel in [pixels(i, background=background if i % 5
                             else 255 - background)])
    # What a net knows is not decided again.
    known = image_set.description._replace(background=255 - background)
    other = read(tmp_path / 'd', Reading(), known)
    numpy.testing.assert_array_equal(
        other.train[0], 255 - image_set.train[0])


def test_digits_are_prepared_as_those_of_image(tmp_path):
    for i in range(4):
        page = numpy.full((60, 60), 255, numpy.uint8)
        page[10 + i:50, 28:34 + 3 * (i % 2)] = 0
        save(tmp_path / 'd' / 'ab'[i % 2] / f'{i}.png', page)
    image_set = read(tmp_path / 'd', Reading())
    assert image_set.description[:3] == ((28, 28), ('a', 'b'), 'digit')
    assert sorted(rows(image_set.train) + rows(image_set.test)) == sorted(
        (i % 2, digit_image.read(
            str(tmp_path / 'd' / 'ab'[i % 2] / f'{i}.png')).tobytes())
        for i in range(4))
    save(tmp_path / 'd' / 'a' / 'empty.png', numpy.full((40, 40), 9, 'u1'))
    with pytest.raises(InputError, match=r'empty.png shows no .*need --plain'):
        read(tmp_path / 'd', Reading())


@pytest.mark.parametrize(('change', 'match'), [
    (lambda d: (d / 'cat' / 'bad.png').write_text('no'),
     r'bad\.png is no picture'),
    (lambda d: (d / 'cat' / 'IMG.HEIC').write_text('no'),
     r'IMG\.HEIC is no picture'),
    (lambda d: (d / 'cat' / '00.png').write_bytes(
        (d / 'cat' / '00.png').read_bytes()[:60]), r'picture .*00\.png'),
    (lambda d: os.mkfifo(d / 'cat' / 'pipe.png'), 'Not a regular file'),
    (lambda d: (d / 'bird').mkdir(), 'animals/bird holds no pictures'),
    (lambda d: save(d / 'bird' / 'a.png', pixels(5)),
     'bird holds one picture, .* of the class bird: two are'),
    (lambda d: [save(d / 'bird' / f'{i}.png', pixels(5)) for i in range(3)],
     'bird holds one picture, of which there may be copies'),
    (lambda d: shutil.rmtree(d / 'cat'), 'animals holds one class, a dog'),
    (lambda d: (d / 'a\nb').mkdir(), 'is none for a class: it is not text'),
    (lambda d: (d / ('x' * 201)).mkdir(), 'longer than 200 letters'),
    (lambda d: os.mkdir(os.fsencode(d) + b'/\xff'), 'is none for a class'),
    (lambda d: ((d / '\u00fc').mkdir(), (d / 'u\u0308').mkdir()),
     'have the same name'),
    (lambda d: [(d / f'c{i}').mkdir() for i in range(255)],
     'holds 257 classes, 256 are the most'),
])
def test_what_is_wrong_is_named(folder, change, match):
    change(folder)
    with pytest.raises(InputError, match=match):
        read(folder)


@pytest.mark.parametrize(('change', 'match'), [
    (lambda d: (d / 'test').mkdir(), 'test holds no folders of classes'),
    (lambda d: save(d / 'test' / 'bird' / 'a.png', pixels(0)),
     'test/bird is a class to test with, but not to train with'),
    (lambda d: (d / 'test' / 'cat').mkdir(parents=True),
     'test holds no pictures'),
    (lambda d: ((d / 'test').mkdir(), (d / 'Test').mkdir()),
     'Test and test: one of them is enough'),
    (lambda d: ((d / 'test').mkdir(), (d / 'training').mkdir()),
     'train and training: one of them is enough'),
    (lambda d: None, 'holds train, but no folder test or val'),
])
def test_what_is_wrong_with_the_parts_is_named(
        folder, tmp_path, change, match):
    root = tmp_path / 'root'
    root.mkdir()
    folder.rename(root / 'train')
    change(root)
    with pytest.raises(InputError, match=match):
        read(root)


def test_flags_that_would_do_nothing_are_refused(folder, tmp_path):
    for how, match in [
            (Reading(transposed=True), '--transposed is for IDX files'),
            (Reading(transposed=False), '--transposed is for IDX files'),
            (Reading(size=(3, 3)), '--size is for --plain')]:
        with pytest.raises(InputError, match=match):
            read(folder, how)
    root = tmp_path / 'root'
    root.mkdir()
    shutil.copytree(folder, root / 'train')
    shutil.copytree(folder, root / 'test')
    for name in 'test_share', 'split_seed':
        with pytest.raises(InputError, match='has pictures to test with'):
            read(root, Reading(**{name: 0}))


def test_a_folder_of_neither_is_refused(tmp_path):
    save(tmp_path / 'a.png', pixels(0))
    with pytest.raises(InputError, match=r'neither IDX files, .* nor a '):
        read(tmp_path)
    with pytest.raises(InputError, match='there is no folder'):
        read(tmp_path / 'no')
    with pytest.raises(InputError, match=r'cannot read the folder .*a\.png'):
        read(tmp_path / 'a.png')


def test_a_missing_pillow_is_one_line(folder, monkeypatch):
    import sys
    monkeypatch.setitem(sys.modules, 'PIL.Image', None)
    monkeypatch.setitem(sys.modules, 'PIL', None)
    with pytest.raises(InputError, match='pictures need Pillow'):
        read(folder)


def test_pictures_are_found_sorted_and_folders_after_files(folder):
    (folder / 'a dog' / 'notes.txt').write_text('a text')
    others = []
    found = [os.path.relpath(path, folder)
             for path in picture_folder.find(str(folder), others)]
    assert found == [f'a dog/{i}.png' for i in range(10, 30)] + [
        f'cat/0{i}.png' for i in range(10)]
    assert others == [str(folder / 'a dog' / 'notes.txt')]


def test_folders_may_lie_deep(tmp_path):
    (tmp_path / 'stays').touch()
    inner = str(tmp_path / 'd')
    for _ in range(1200):
        os.mkdir(inner)
        inner += '/a'
    save(tmp_path / 'a.png', pixels(0))
    os.mkdir(inner)
    os.rename(tmp_path / 'a.png', inner + '/a.png')
    try:
        assert picture_folder.find(str(tmp_path / 'd')) == [inner + '/a.png']
    finally:
        # Neither pytest nor shutil removes so many, one in another.
        os.unlink(inner + '/a.png')
        os.removedirs(inner)
