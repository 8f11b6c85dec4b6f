import chainer_compat
from chainer import optimizer

from weight_clip import WeightClip


class FusedClipRule(optimizer.UpdateRule):
    """Update rule that can clip its parameter in the pass that updates it."""

    # The hook to apply in the update, and whether the update has done so.
    clip = None
    clipped = False

    def limits(self, param):
        """Returns the limits to clip param to as keyword arguments.

        Who calls it does clip; the optimizer then leaves the hook out.
        """
        # A hook of this rule alone runs before those of the optimizer.
        if (self.clip is None or not self.clip.applies_to(param)
                or self._hookable._post_update_hooks):
            return {}
        self.clipped = True
        return {'lower': self.clip.lower, 'upper': self.clip.upper}


class FusedClip(optimizer.GradientMethod):
    """Optimizer whose rules do a :class:`~weight_clip.WeightClip` themselves.

    That is, if it is the first hook to run after the update.
    """

    def update(self, lossfun=None, *args, **kwds):
        hook = next(iter(self._hookable._post_update_hooks.values()), None)
        clip = hook if type(hook) is WeightClip else None
        for param in self.target.params():
            if isinstance(param.update_rule, FusedClipRule):
                param.update_rule.clip = clip
                param.update_rule.clipped = False
        super().update(lossfun, *args, **kwds)

    def call_hook(self, hook):
        if type(hook) is not WeightClip:
            super().call_hook(hook)
            return
        for param in self.target.params():
            rule = param.update_rule
            if not (getattr(rule, 'clipped', False) and rule.clip is hook):
                hook(rule, param)
