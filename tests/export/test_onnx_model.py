import json
import sys

import numpy
import pytest

import predict_mnist
from data import mnist
from export import canonical, formats, onnx_model
from prediction.packed_net import PackedNet
from system.errors import InputError
from tests.helpers.nets import random_arrays, random_pixels

onnx = pytest.importorskip('onnx', reason='needs onnx')

# All are odd but one, whose bits fill their bytes, and there is one as large
# as the default: a runtime that fuses the last layer's bias with its product
# shows at 1000 units what it hides at 256.
SIZES = [(784, 101, 77, 10), (784, 1000, 1000, 10), (30, 5, 3), (1, 1, 2),
         (65, 64, 129, 63, 7), (16, 8, 8)]


@pytest.fixture(params=SIZES, ids=lambda sizes: '-'.join(map(str, sizes)))
def packed(request):
    """A net with falling units."""
    net = PackedNet.from_arrays(random_arrays(request.param))
    assert min(net.sizes) < 3 or all(
        layer.falling.any() for layer in net.hidden)
    return net


def pixels_of(net, n=300):
    """Returns images, of which one is all black and one all white."""
    x = random_pixels(n, net.sizes[0])
    x[0], x[1] = 0, 255
    return x


def run_onnxruntime(content, x):
    """Returns class, logits and probabilities."""
    onnxruntime = pytest.importorskip(
        'onnxruntime', reason='needs onnxruntime')
    session = onnxruntime.InferenceSession(
        content, providers=['CPUExecutionProvider'])
    return session.run(None, {'pixels': x})


def run_reference(content, x):
    """Returns class, logits and probabilities, as onnx itself has them."""
    from onnx.reference import ReferenceEvaluator
    return ReferenceEvaluator(onnx.load_from_string(content)).run(
        None, {'pixels': x})


RUNTIMES = pytest.mark.parametrize('run', [run_onnxruntime, run_reference])


@RUNTIMES
def test_onnx_computes_what_the_packed_net_does(packed, run):
    x = pixels_of(packed, 300 if packed.sizes[1] < 1000 else 60)
    content = onnx_model.write(canonical.fold(packed))
    classes, logits, probabilities = run(content, x)
    assert (classes.dtype, logits.dtype) == (numpy.int64, numpy.float32)
    numpy.testing.assert_array_equal(logits, packed.logits(x))
    numpy.testing.assert_array_equal(classes, packed.predict(x))
    numpy.testing.assert_allclose(
        probabilities, packed.probabilities(x), rtol=1e-5, atol=1e-7)


@RUNTIMES
@pytest.mark.parametrize('n', [1, 2, 129])
def test_the_number_of_images_is_free(run, n):
    packed = PackedNet.from_arrays(random_arrays((30, 5, 3)))
    x = random_pixels(n, 30)
    classes, logits, _ = run(onnx_model.write(canonical.fold(packed)), x)
    numpy.testing.assert_array_equal(classes, packed.predict(x))
    numpy.testing.assert_array_equal(logits, packed.logits(x))


@RUNTIMES
def test_of_equal_classes_the_first_is_taken(run):
    arrays = random_arrays((30, 5, 20))
    # Whatever goes in, some of the 20 logits are the largest together.
    arrays['bn2/gamma'][:] = 0
    arrays['bn2/beta'][:] = 0
    arrays['bn2/beta'][[3, 11, 19]] = 1
    packed = PackedNet.from_arrays(arrays)
    x = random_pixels(40, 30)
    classes, _, _ = run(onnx_model.write(canonical.fold(packed)), x)
    assert (classes == 3).all()


@RUNTIMES
def test_constant_units_stay_constant(run):
    arrays = random_arrays((30, 9, 9, 5))
    for i in 1, 2:
        arrays[f'bn{i}/gamma'][:4] = 0
        arrays[f'bn{i}/beta'][:4] = [1, -1, 0, -1]
        # Beyond any sum that there is.
        arrays[f'bn{i}/beta'][4:6] = [1e6, -1e6]
    packed = PackedNet.from_arrays(arrays)
    x = pixels_of(packed)
    _, logits, _ = run(onnx_model.write(canonical.fold(packed)), x)
    numpy.testing.assert_array_equal(logits, packed.logits(x))


def test_the_weights_are_bits_in_the_file():
    sizes = 784, 256, 256, 10
    net = canonical.fold(PackedNet.from_arrays(random_arrays(sizes)))
    n_bits = sum(a * b for a, b in zip(sizes, sizes[1:]))
    # A table of 256 bytes' bits is 2 kB, names and nodes are 1 to 2 kB.
    assert n_bits / 8 < len(onnx_model.write(net)) < n_bits / 8 + 7000


def test_the_file_is_one_that_older_runtimes_read(packed):
    model = onnx.load_from_string(onnx_model.write(canonical.fold(packed)))
    onnx.checker.check_model(model, full_check=True)
    assert model.ir_version == 8
    assert [(s.domain, s.version) for s in model.opset_import] == [('', 13)]
    # onnxruntime warns of constants that nothing reads.
    read = {name for node in model.graph.node for name in node.input}
    assert {c.name for c in model.graph.initializer} <= read
    assert [v.name for v in model.graph.output] == [
        'class', 'logits', 'probabilities']


def test_onnxruntime_says_nothing_as_it_loads_and_runs(packed, capfd):
    run_onnxruntime(onnx_model.write(canonical.fold(packed)),
                    pixels_of(packed, 2))
    assert capfd.readouterr() == ('', '')


def test_the_same_net_gives_the_same_bytes(packed):
    net = canonical.fold(packed)
    assert onnx_model.write(net) == onnx_model.write(net)


def test_the_metadata_say_what_the_net_is():
    accuracy = canonical.Accuracy(97, 100, 'Kleider \udcff "1"')
    packed = PackedNet.from_arrays(random_arrays((6, 5, 3)))
    packed.images = packed.images._replace(
        shape=(2, 3), classes=('Zoë', 'b "c"', '数'))
    for known in None, accuracy:
        net = canonical.fold(packed, known)
        model = onnx.load_from_string(onnx_model.write(net))
        about = {p.key: json.loads(p.value) for p in model.metadata_props}
        assert about.pop('accuracy', None) == (known and {
            'n_right': 97, 'n': 100, 'data': 'Kleider \udcff "1"'})
        assert about == {
            'sizes': [6, 5, 3], 'shape': [2, 3], 'preparation': 'plain',
            'classes': ['Zoë', 'b "c"', '数']}
        assert '6-5-3' in model.doc_string


# The program


@pytest.fixture
def model_file(tmp_path):
    """A packed net that was trained on MNIST, as far as its file says."""
    net = PackedNet.from_arrays(random_arrays((784, 33, 10)),
                                training_set=mnist.CHECKSUM)
    net.save(tmp_path / 'net.npz')
    return tmp_path / 'net.npz'


def test_the_program_writes_it_with_the_accuracy(
        model_file, tmp_path, capsys):
    path = tmp_path / 'net.onnx'
    predict_mnist.main([str(model_file), '--export', str(path)])
    out = capsys.readouterr().out
    content = path.read_bytes()
    assert f'exported: {path}, {len(content):,} bytes' in out
    x, labels = mnist.read('test.npz')
    classes, logits, _ = run_onnxruntime(content, x)
    net = PackedNet.load(model_file)
    numpy.testing.assert_array_equal(logits, net.logits(x))
    numpy.testing.assert_array_equal(classes, net.predict(x))
    accuracy, = (json.loads(p.value) for p in onnx.load_from_string(
        content).metadata_props if p.key == 'accuracy')
    assert accuracy == {'n_right': int((classes == labels).sum()),
                        'n': 10000, 'data': 'MNIST'}


@pytest.mark.parametrize(('arguments', 'message'), [
    (['--qonnx-dialect', 'finn'], '--qonnx-dialect is for --export'),
    (['--qonnx-dialect', 'finn', '--export', 'net.onnx'],
     'is for --export of a file .qonnx.onnx, not net.onnx'),
    (['--qonnx-dialect', 'larq', '--export', 'net.qonnx.onnx'],
     "invalid choice: 'larq'"),
    (['--export', 'net.onnx.txt'], 'writes no files .txt, but .npz, '),
    (['--export', 'net.onnx'], '.onnx files need onnx: pip install')])
def test_the_program_refuses_with_one_line(
        model_file, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, 'onnx', None)
    tmp_path.joinpath('net.onnx').write_text('of before')
    with pytest.raises(SystemExit, match='2'):
        predict_mnist.main([str(model_file), *arguments])
    out, err = capsys.readouterr()
    assert err.startswith('predict_mnist.py: error: ')
    assert (out, err.count('\n')) == ('', 1)
    assert message in err
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        'net.npz', 'net.onnx']
    assert tmp_path.joinpath('net.onnx').read_text() == 'of before'


def test_a_missing_onnx_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, 'onnx', None)
    for name in 'net.onnx', 'net.qonnx.onnx', 'NET.ONNX':
        with pytest.raises(InputError, match=(
                r'^\.onnx files need onnx: pip install -r '
                r'requirements-export\.txt$')):
            formats.writer(name)


def test_an_onnx_that_does_not_load_is_named(monkeypatch, tmp_path):
    tmp_path.joinpath('onnx.py').write_text(
        'raise TypeError("generated code is out of date\\nand more")')
    monkeypatch.syspath_prepend(tmp_path)
    for name in list(sys.modules):
        if name.split('.')[0] == 'onnx':
            monkeypatch.delitem(sys.modules, name)
    with pytest.raises(InputError, match=(
            r'need onnx: pip install .* \(it is there, but: generated code is '
            r'out of date\)$')):
        formats.writer('net.onnx')
