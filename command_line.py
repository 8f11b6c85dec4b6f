import argparse


class ArgumentParser(argparse.ArgumentParser):
    """Parser whose errors are one line, without the usage before it."""

    def error(self, message):
        message = ' '.join(str(message).split())
        self.exit(2, f'{self.prog}: error: {message}\n')


def integer(lowest, highest=None):
    """Returns an argument type: the whole numbers from lowest to highest."""
    def parse(text):
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(
                f'must be a whole number, got {text!r}') from None
        if value < lowest:
            raise argparse.ArgumentTypeError(
                f'must be at least {lowest}, got {text}')
        if highest is not None and value > highest:
            raise argparse.ArgumentTypeError(
                f'must be at most {highest}, got {text}')
        return value
    return parse
