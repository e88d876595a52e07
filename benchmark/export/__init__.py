"""Pipelines for use elsewhere."""
