"""Runs as W&B's API shows them: lists, attributes, histories, files, logs."""
