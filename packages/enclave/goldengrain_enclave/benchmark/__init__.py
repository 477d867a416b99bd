"""Scoring a model: static gate, killable child, metrics and their confidence bounds."""
