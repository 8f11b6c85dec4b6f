"""Tables in Markdown."""


def markdown(header, rows):
    """Returns a table in Markdown."""
    lines = [header, ['---'] * len(header), *rows]
    return '\n'.join('| ' + ' | '.join(line) + ' |' for line in lines)
