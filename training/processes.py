import contextlib

from system import command_line
from training.world import World


@contextlib.contextmanager
def join(parser, args):
    """Runs a program with the other processes, where there shall be several.

    In the ``with`` block errors end it as those in
    :func:`system.command_line.running` do.

    Args:
        parser (~system.command_line.ArgumentParser): The program's parser.
        args (argparse.Namespace): The arguments; ``mpi`` tells whether there
            are several processes, ``gpu`` is the id of the GPU.

    Yields:
        World: The processes.

    """
    with contextlib.ExitStack() as stack:
        # This one is for MPI that is missing, the second for the rest: its
        # line is printed before the other processes are ended.
        stack.enter_context(command_line.running(parser))
        world = World()
        if args.mpi:
            from training import multi_node
            world = stack.enter_context(multi_node.join(args.gpu))
            stack.enter_context(command_line.running(parser))
        yield world
