import functools

import numpy
import pytest

from export import canonical, formats, qonnx_model
from export.canonical import Canonical, Hidden
from prediction.packed_net import PackedNet
from system.errors import InputError
from tests.helpers.nets import random_arrays, random_pixels

onnx = pytest.importorskip('onnx', reason='needs onnx')

SIZES = [(784, 101, 77, 10), (30, 5, 3), (1, 1, 2), (65, 64, 129, 63, 7)]

on_each_dialect = pytest.mark.parametrize('dialect', qonnx_model.DIALECTS)
on_each_size = pytest.mark.parametrize(
    'sizes', SIZES, ids=lambda sizes: '-'.join(map(str, sizes)))


@pytest.fixture(scope='module')
def qonnx():
    """qonnx, with all of it that is used here."""
    pytest.importorskip('qonnx', reason='needs qonnx')
    import qonnx
    import qonnx.core.modelwrapper
    import qonnx.core.onnx_exec
    import qonnx.transformation.bipolar_to_xnor
    import qonnx.transformation.change_batchsize
    import qonnx.transformation.infer_datatypes
    import qonnx.transformation.infer_shapes
    import qonnx.transformation.insert_topk
    import qonnx.util.inference_cost
    return qonnx


@functools.cache
def make(sizes):
    """Returns a net with falling units."""
    net = PackedNet.from_arrays(random_arrays(sizes))
    assert min(sizes) < 3 or all(layer.falling.any() for layer in net.hidden)
    return net


def read(qonnx, net, dialect, n=None):
    """Returns qonnx's model of a net, for n images or as it is written."""
    model = qonnx.core.modelwrapper.ModelWrapper(onnx.load_from_string(
        qonnx_model.write(canonical.fold(net), dialect)))
    if n is None:
        return model
    model = model.transform(
        qonnx.transformation.change_batchsize.ChangeBatchSize(n))
    return model.transform(qonnx.transformation.infer_shapes.InferShapes())


def run(qonnx, model, x):
    """Returns a model's one output."""
    output, = qonnx.core.onnx_exec.execute_onnx(
        model, {'pixels': x.astype(numpy.float32)}).values()
    return output


def pixels_of(net, n=100):
    x = random_pixels(n, net.sizes[0])
    x[0], x[1] = 0, 255
    return x


@on_each_dialect
@on_each_size
def test_qonnx_computes_what_the_packed_net_does(qonnx, sizes, dialect):
    net = make(sizes)
    x = pixels_of(net)
    logits = run(qonnx, read(qonnx, net, dialect, len(x)), x)
    assert logits.dtype == numpy.float32
    numpy.testing.assert_array_equal(logits, net.logits(x))


@on_each_dialect
def test_the_file_runs_as_it_is_on_one_image(qonnx, dialect):
    net = make((784, 101, 77, 10))
    model = read(qonnx, net, dialect)
    for x in pixels_of(net, 6)[:, None]:
        numpy.testing.assert_array_equal(run(qonnx, model, x), net.logits(x))


@on_each_dialect
def test_of_the_classes_qonnx_takes_the_same_one(qonnx, dialect):
    arrays = random_arrays((30, 5, 20))
    # Logits that are equal are frequent: their number is small.
    for name, value in ('gamma', 1), ('beta', 0), ('avg_mean', 0), (
            'avg_var', 1):
        arrays[f'bn2/{name}'][:] = value
    arrays['l2/b'][:] = 0
    net = PackedNet.from_arrays(arrays)
    x = pixels_of(net)
    largest = numpy.sort(net.logits(x))[:, -2:]
    assert (largest[:, 0] == largest[:, 1]).any()
    model = read(qonnx, net, dialect, len(x)).transform(
        qonnx.transformation.insert_topk.InsertTopK(1)).transform(
            qonnx.transformation.infer_shapes.InferShapes())
    numpy.testing.assert_array_equal(
        run(qonnx, model, x), net.predict(x)[:, None])


def test_a_net_of_the_default_size_is_as_exact(qonnx):
    net = make((784, 1000, 1000, 10))
    x = pixels_of(net, 20)
    logits = run(qonnx, read(qonnx, net, 'bipolar', len(x)), x)
    numpy.testing.assert_array_equal(logits, net.logits(x))


@pytest.mark.parametrize(('dialect', 'weight'), [
    ('bipolar', 'BIPOLAR'), ('finn', 'BIPOLAR'), ('hls4ml', 'INT2')])
def test_qonnx_counts_operations_of_one_bit(qonnx, dialect, weight):
    cost = qonnx.util.inference_cost.inference_cost(
        read(qonnx, make((784, 101, 77, 10)), dialect),
        discount_sparsity=False)['total_cost']
    n_first, n_others = 784 * 101, 101 * 77 + 77 * 10
    assert {key: value for key, value in cost.items()
            if key.startswith(('op_mac', 'mem_w'))} == {
        f'op_mac_UINT8_{weight}': n_first,
        f'op_mac_BIPOLAR_{weight}': n_others,
        f'mem_w_{weight}': n_first + n_others}


@on_each_size
def test_finn_makes_xnor_and_popcount_of_its_dialect(qonnx, sizes):
    net = make(sizes)
    x = pixels_of(net)
    model = read(qonnx, net, 'finn', len(x)).transform(
        qonnx.transformation.infer_datatypes.InferDataTypes())
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count('MatMul') == len(sizes) - 1
    model = model.transform(qonnx.transformation.bipolar_to_xnor.
                            ConvertBipolarMatMulToXnorPopcount())
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count('MatMul') == 1  # That of the pixels
    assert kinds.count('XnorPopcountMatMul') == len(sizes) - 2
    numpy.testing.assert_array_equal(run(qonnx, model, x), net.logits(x))


# Without qonnx


@on_each_dialect
def test_the_values_are_said_to_be_bits(dialect):
    model = onnx.load_from_string(qonnx_model.write(
        canonical.fold(make((784, 101, 77, 10))), dialect))
    onnx.checker.check_model(model)
    values = {a.tensor_name: a.quant_parameter_tensor_names[0].value
              for a in model.graph.quantization_annotation}
    assert {a.quant_parameter_tensor_names[0].key
            for a in model.graph.quantization_annotation} == {
                'finn_datatype'}
    assert values['pixels'] == 'UINT8'
    assert values['l1_activations'] == values['l2_activations'] == 'BIPOLAR'
    names = {n.output[0] for n in model.graph.node} | {
        c.name for c in model.graph.initializer} | {'pixels'}
    assert set(values) <= names
    # Each tensor's shape is known, each node has a name of its own.
    known = {v.name for v in (*model.graph.value_info, *model.graph.output)}
    assert {n.output[0] for n in model.graph.node} == known
    assert len({n.name for n in model.graph.node}) == len(model.graph.node)
    assert model.ir_version == 8
    assert [(s.domain, s.version) for s in model.opset_import] == [
        ('', 13), ('qonnx.custom_op.general', 1)]


@on_each_dialect
def test_the_same_net_gives_the_same_bytes(dialect):
    net = canonical.fold(make((65, 64, 129, 63, 7)))
    assert qonnx_model.write(net, dialect) == qonnx_model.write(net, dialect)


def test_the_dialects_are_three_kinds_of_graph():
    net = canonical.fold(make((30, 5, 3)))
    kinds = {dialect: {n.op_type for n in onnx.load_from_string(
        qonnx_model.write(net, dialect)).graph.node}
        for dialect in qonnx_model.DIALECTS}
    rest = {'MatMul', 'Add', 'Sub', 'Mul'}
    assert kinds == {'bipolar': {'BipolarQuant', *rest},
                     'finn': {'MultiThreshold', *rest},
                     'hls4ml': {'BipolarQuant', 'Quant', *rest}}


def large(n_in, n_units):
    """Returns a net that takes no memory."""
    def vast(*shape):
        return numpy.broadcast_to(numpy.int8(1), shape)

    return Canonical([Hidden(vast(n_units, n_in), vast(n_units))],
                     vast(2, n_units), (numpy.zeros(2),) * 5, None)


@pytest.mark.parametrize(('sizes', 'match'), [
    ((65794, 1), 'float32, which is exact for 65,793 of them, not for '
                 '65,794'),
    ((60000, 9000), '540,018,000 weights would be larger than 2 GiB')])
def test_nets_beyond_the_format_are_refused(sizes, match):
    with pytest.raises(InputError, match=match):
        qonnx_model.write(large(*sizes))


def test_the_most_pixels_are_exact(qonnx):
    random = numpy.random.RandomState(0)
    net = PackedNet.from_arrays({
        'l1/W': random.uniform(.5, 1, (3, 65793)).astype(numpy.float32),
        'bn1/avg_mean': numpy.array(
            [65792.997, 65793, 65793.003], numpy.float32),
        'l2/W': random.uniform(-1, 1, (2, 3)).astype(numpy.float32)})
    x = numpy.full((3, 65793), 255, numpy.uint8)
    x[1, 5], x[2, 7] = 254, 0
    assert len({tuple(logits) for logits in net.logits(x)}) > 1
    logits = run(qonnx, read(qonnx, net, 'bipolar', len(x)), x)
    numpy.testing.assert_array_equal(logits, net.logits(x))


# The flag


def test_the_dialect_is_one_of_qonnx_alone():
    for name in 'net.npz', 'net', 'net.onnx':
        with pytest.raises(InputError, match=(
                r'is for --export of a file \.qonnx\.onnx, not net')):
            formats.writer(name, 'finn')
    net = canonical.fold(make((30, 5, 3)))
    contents = [formats.writer('a.QONNX.onnx', dialect)(net)
                for dialect in (None, *formats.QONNX_DIALECTS)]
    assert contents[0] == contents[1]
    assert len(set(contents)) == 3
