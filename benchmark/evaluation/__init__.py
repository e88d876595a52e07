"""Evaluation: domains as MTEB tasks, model specs as MTEB models, one run file for each pair of them."""
