"""Optimizers that clip in the pass that updates, in WeightClip's place."""
