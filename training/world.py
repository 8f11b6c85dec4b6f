"""The processes of a run: what each has of the data, and what it does."""
from training.exact_evaluator import ExactEvaluator


class World:
    """The processes of a run: here, one.

    A trainer is built of what the world hands out; :class:`~training.\
multi_node.MultiNodeWorld` has the parts for several processes.

    Attributes:
        rank (int): Number of this process; 0 alone prints, draws and saves.
        size (int): Number of processes.

    """

    rank, size = 0, 1

    def gpu(self, gpu):
        """Returns the id of this process's GPU; -1 is the CPU.

        Args:
            gpu (int): The id that the user has chosen, for the first process
                of a machine.

        """
        return gpu

    def out(self, out):
        """Returns the folder that this process writes to.

        Args:
            out (str): The folder that the user has chosen.

        """
        return out

    def scatter(self, dataset):
        """Returns this process's share of the training set.

        Args:
            dataset (~training.array_dataset.ArrayDataset): The whole.

        Returns:
            ~training.array_dataset.ArrayDataset: Shares are drawn at random,
            the same in each run, and of one size: some examples are in two.

        """
        return dataset

    def share(self, dataset):
        """Returns this process's share of a set to evaluate on.

        Args:
            dataset (~training.array_dataset.ArrayDataset): The whole.

        Returns:
            ~training.array_dataset.ArrayDataset: Each example is in one share.

        """
        return dataset

    def optimizer(self, optimizer):
        """Returns an optimizer that works on the gradients of all processes.

        Args:
            optimizer (~chainer.Optimizer): Optimizer, set up with its model,
                whose batch normalizations are connected as well.

        """
        return optimizer

    def evaluator(self, *args, **kwargs):
        """Returns an evaluator over the examples of all processes.

        Args:
            args, kwargs: Those of
                :class:`~training.exact_evaluator.ExactEvaluator`.

        """
        return ExactEvaluator(*args, **kwargs)

    def extensions(self, model):
        """Returns the extensions that a trainer of this world needs.

        Args:
            model (~chainer.Link): The network with its loss.

        """
        return []

    def synchronize(self, trainer):
        """Copies the state of rank 0's trainer to all.

        Args:
            trainer (~chainer.training.Trainer): Trainer that has not run yet.

        """

    def largest(self, value):
        """Returns the largest of the whole numbers of all processes."""
        return value

    def leave(self):
        """Waits for all processes; from then on each may end by itself."""
