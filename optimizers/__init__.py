"""Optimizers of latent weights, which clip as they update, and Bop."""
