import argparse


class ArgumentParser(argparse.ArgumentParser):
    """Parser whose errors are one line, without the usage before it."""

    def error(self, message):
        message = ' '.join(str(message).split())
        self.exit(2, f'{self.prog}: error: {message}\n')


def positive_int(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f'must be at least 1, got {text}')
    return value
