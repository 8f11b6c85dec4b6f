"""Sets of choices for a run, and what is built from them."""
