"""What the writers of ONNX and QONNX files share: a graph and its metadata."""
import json

from system.errors import InputError

# Of 2021 and 2020: make_model would write the newest, which runtimes of before
# refuse.
_IR_VERSION, _OPSET = 8, 13

_HOW = 'pip install -r requirements-export.txt'


def load():
    """Returns the package onnx; InputError where there is none that works."""
    try:
        import onnx
        import onnx.helper
        import onnx.numpy_helper
    # It may want another protobuf or NumPy, and says so in many ways.
    except Exception as e:
        reason = '' if getattr(e, 'name', None) == 'onnx' else (
            f' (it is there, but: {_first_line(e)})')
        raise InputError(f'.onnx files need onnx: {_HOW}{reason}') from e
    return onnx


def _first_line(error):
    return (str(error).splitlines() or [type(error).__name__])[0]


class Graph:
    """Graph of ONNX that grows from its input to its outputs.

    A tensor is known by its name, and a node by that of its output. The same
    calls give the same bytes.

    Args:
        doc (str): What the graph is, for those who open the file.

    Raises:
        InputError: If there is no onnx.

    """

    def __init__(self, doc):
        self._onnx = load()
        self._doc = doc
        self._nodes, self._constants = [], []
        self._inputs, self._outputs, self._inner = [], [], []
        self._annotations = []

    def input(self, name, dtype, shape, doc=''):
        """Adds an input and returns its name; see :meth:`output`."""
        self._inputs.append(self._describe(name, dtype, shape, doc))
        return name

    def output(self, name, dtype, shape, doc=''):
        """Makes an output of a tensor.

        Args:
            name (str): Name of the tensor.
            dtype (str): Type of its elements, such as ``FLOAT`` or ``UINT8``.
            shape (list): Of integers, and strings where a size is not known.
            doc (str): What it is.

        """
        self._outputs.append(self._describe(name, dtype, shape, doc))

    def inner(self, name, dtype, shape):
        """Tells the shape of a tensor between nodes; see :meth:`output`."""
        self._inner.append(self._describe(name, dtype, shape, ''))

    def _describe(self, name, dtype, shape, doc):
        return self._onnx.helper.make_tensor_value_info(
            name, getattr(self._onnx.TensorProto, dtype), shape, doc)

    def constant(self, name, array):
        """Adds an array under a name, and returns the name."""
        self._constants.append(
            self._onnx.numpy_helper.from_array(array, name))
        return name

    def node(self, kind, inputs, output, domain='', **attributes):
        """Adds a node and returns the name of its output.

        Args:
            kind (str): The operator.
            inputs (list of str): Names of tensors.
            output (str): Name of a new one.
            domain (str): Of operators that are not ONNX's own.
            attributes (dict): Of the operator.

        """
        self._nodes.append(self._onnx.helper.make_node(
            kind, inputs, [output], name=output, domain=domain, **attributes))
        return output

    def cast(self, name, output, dtype):
        """Adds a conversion and returns the name of its output."""
        return self.node('Cast', [name], output,
                         to=getattr(self._onnx.TensorProto, dtype))

    def annotate(self, name, values):
        """Says which values a tensor holds.

        Args:
            name (str): Name of the tensor.
            values (str): QONNX's name of a type, such as ``BIPOLAR``.

        """
        annotation = self._onnx.TensorAnnotation(tensor_name=name)
        annotation.quant_parameter_tensor_names.add(
            key='finn_datatype', value=values)
        self._annotations.append(annotation)

    def norm(self, name, net):
        """Adds the last layer's normalization, and the output ``logits``.

        One operation for each of :meth:`export.canonical.Canonical.logits`:
        every one is rounded as there.

        Args:
            name (str): Name of its sums, float32 of shape (N, classes).
            net (Canonical): The net.

        Returns:
            str: ``logits``.

        """
        for kind, vector, array, output in zip(
                ('Add', 'Sub', 'Mul', 'Mul', 'Add'),
                ('b', 'mean', 'inv_std', 'gamma', 'beta'), net.norm,
                ('biased', 'centred', 'normal', 'scaled', 'logits')):
            name = self.node(
                kind, [name, self.constant(vector, array)], output)
        return name

    def to_bytes(self, net, domain=None):
        """Returns the model's file.

        Args:
            net (Canonical): The net that the metadata are of.
            domain (str or None): Of operators that are not ONNX's own.

        Returns:
            bytes: The model, with ``metadata_props`` that are JSON each:
            ``sizes``, ``classes``, ``shape``, ``preparation``, and
            ``accuracy`` where it is known.

        """
        helper = self._onnx.helper
        opsets = [helper.make_opsetid('', _OPSET)]
        if domain:
            opsets.append(helper.make_opsetid(domain, 1))
        graph = helper.make_graph(
            self._nodes, 'quantized_net', self._inputs, self._outputs,
            self._constants, value_info=self._inner)
        graph.quantization_annotation.extend(self._annotations)
        model = helper.make_model(
            graph, opset_imports=opsets, ir_version=_IR_VERSION,
            producer_name='quantized_net', doc_string=self._doc)
        about = {'sizes': net.sizes, **net.images.to_json()}
        if net.accuracy:
            n_right, n, data = net.accuracy
            about['accuracy'] = {'n_right': n_right, 'n': n, 'data': data}
        helper.set_model_props(model, {
            key: json.dumps(value) for key, value in about.items()})
        return model.SerializeToString()
