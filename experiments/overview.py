"""The picture that the README opens with; pictures.py has its numbers."""
import statistics

# Points of a font at the picture's 100 dots per inch: at its full width of
# 1660 dots, shown at half of it, letters are as large as the README's.
_POINTS = 24

_THEMES = {
    'light': {'paper': '#ffffff', 'ink': '#1f2328', 'grid': '#d1d9e0',
              'ours': '#1f6feb', 'test': '#d1570b', 'others': '#8c959f'},
    'dark': {'paper': '#0d1117', 'ink': '#e6edf3', 'grid': '#3d444d',
             'ours': '#58a6ff', 'test': '#f0883e', 'others': '#6e7681'},
}


def draw(path, theme, logs, original, seconds, inference, sizes):
    """Draws the reproduction's curves, the speed and the size.

    Args:
        path (str): The picture.
        theme (str): ``light`` or ``dark``.
        logs (list): Logs of the runs of the recipe ``original``.
        original (list): The original's table in the same form.
        seconds (dict): Seconds of an epoch by variant.
        inference (dict): Seconds for the test images by contender.
        sizes (dict): Bytes of a network by form.

    """
    import matplotlib
    from matplotlib.figure import Figure

    colors = _THEMES[theme]
    ink = colors['ink']
    style = {'font.size': _POINTS, 'text.color': ink, 'axes.labelcolor': ink,
             'axes.edgecolor': ink, 'xtick.color': ink, 'ytick.color': ink,
             'axes.facecolor': colors['paper'],
             'figure.facecolor': colors['paper'],
             'axes.titlesize': _POINTS, 'legend.frameon': False}
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(16.6, 15.6), dpi=100, layout='constrained')
        top, bottom = figure.subfigures(2, 1, height_ratios=[1, 1.25])
        for part in figure, top, bottom:
            part.set_facecolor(colors['paper'])
        _draw_curves(top.subplots(), logs, original, colors)
        bars = bottom.subplots(3, 1, height_ratios=[4, 4, 2])
        for axes, numbers, title, text in (
                (bars[0], seconds, 'Training: seconds per epoch, 2 x 1000 '
                 'units, two cores', '{:.1f} s'),
                (bars[1], inference, 'Inference: images per second, '
                 'in thousands', '{:,.0f}'),
                (bars[2], sizes, 'Size of the trained network, in kB',
                 '{:,.0f}')):
            _draw_bars(axes, numbers, title, text, colors)
        figure.savefig(path, facecolor=colors['paper'])


def _draw_curves(axes, logs, original, colors):
    epochs = range(1, len(logs[0]) + 1)
    for column, label, color in (
            ('main/accuracy', 'training', colors['ours']),
            ('validation/main/accuracy', 'test', colors['test'])):
        runs = list(zip(*([100 * e[column] for e in log] for log in logs)))
        axes.plot(epochs, [statistics.mean(v) for v in runs], color=color,
                  linewidth=4, label=f'{label}, this project')
        axes.fill_between(epochs, [min(v) for v in runs],
                          [max(v) for v in runs], color=color, alpha=.25)
        axes.plot(epochs, [100 * e[column] for e in original], 'o',
                  color=color, markeredgecolor=colors['ink'], markersize=11,
                  label=f"{label}, the original's README")
    axes.set_xticks(range(2, len(logs[0]) + 1, 2))
    axes.set_xlabel('epoch')
    axes.set_ylabel('accuracy, %')
    axes.grid(color=colors['grid'])
    axes.set_title("The original's table, reproduced: --recipe original, "
                   f'{len(logs)} seeds', loc='left', pad=18)
    axes.legend(loc='lower right')


def _draw_bars(axes, numbers, title, text, colors):
    names = list(numbers)[::-1]
    values = [numbers[name] for name in names]
    bars = axes.barh(names, values, color=[
        colors['ours'] if 'this project' in name else colors['others']
        for name in names])
    axes.bar_label(bars, [text.format(v) for v in values], padding=8,
                   color=colors['ink'])
    axes.set_title(title, loc='left', pad=14)
    axes.set_xlim(0, 1.12 * max(values))
    axes.set_xticks([])
    axes.tick_params(axis='y', length=0)
    for side in axes.spines.values():
        side.set_visible(False)
