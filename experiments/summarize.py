#!/usr/bin/env python
"""Makes the tables of results and their pictures from the logs in logs/.

It prints the tables, or writes them into the documents, README.md and
docs/*.md: there a table stands between the lines ``<!-- table: NAME -->`` and
``<!-- end -->``.
"""
import os
import pathlib
import re
import sys

if __name__ == '__main__':
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from experiments.runs import ROOT
from experiments.tables import TABLES
from system.command_line import ArgumentParser, check_matplotlib

# Markers begin a line: within one they are quoted. A table without an end goes
# on to the next table's marker.
_TABLE = re.compile(r'^<!-- table: ([^\n]*?) -->.*?'
                    r'(^<!-- end -->|(?=^<!-- table: )|\Z)',
                    re.DOTALL | re.MULTILINE)


def documents(root=ROOT):
    """Returns the paths of the documents that may hold tables."""
    return [root / 'README.md', *sorted((root / 'docs').glob('*.md'))]


def with_tables(text):
    """Returns a document's text with its tables made anew.

    Args:
        text (str): Markdown, with tables between the lines
            ``<!-- table: NAME -->`` and ``<!-- end -->``.

    Raises:
        ValueError: If there is no table of that name, or no end of it.

    """
    def replace(match):
        name, end = match.groups()
        if name not in TABLES:
            raise ValueError(f'there is no table {name!r}; those that are: '
                             + ', '.join(TABLES))
        if not end:
            raise ValueError(f'the table {name!r} has no <!-- end -->')
        return f'<!-- table: {name} -->\n\n{TABLES[name]()}\n\n{end}'

    return _TABLE.sub(replace, text)


def update(root=ROOT):
    """Writes the tables into the documents of a folder, and the pictures.

    Args:
        root (~pathlib.Path): Folder of README.md and docs/.

    Raises:
        ValueError: If a document has a wrong table; then nothing is written.

    """
    # Numba takes a second to import: not for the tables alone.
    from experiments import pictures

    texts = {}
    for path in documents(root):
        try:
            texts[path] = with_tables(path.read_text(encoding='utf-8'))
        except ValueError as e:
            raise ValueError(f'{path}: {e}') from e
    for path, text in texts.items():
        path.write_text(text, encoding='utf-8')
    folder = root / 'docs' / 'pictures'
    folder.mkdir(parents=True, exist_ok=True)
    pictures.draw_all(folder)


def print_tables():
    """Prints all tables, each after its name."""
    try:
        for name, table in TABLES.items():
            print(f'{name}\n\n{table()}\n')
        sys.stdout.flush()
    except BrokenPipeError:
        # Python writes the rest of the output at its end: not again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main():
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('--update', action='store_true',
                        help='write the tables into README.md and docs/*.md '
                             'and the pictures to docs/pictures/, rather '
                             'than print the tables')
    args = parser.parse_args()
    try:
        if args.update:
            check_matplotlib('--update')
            update()
        else:
            print_tables()
    except (OSError, ValueError) as e:
        parser.error(e)


if __name__ == '__main__':
    main()
