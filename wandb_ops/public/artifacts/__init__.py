"""Artifacts as W&B's API shows them: built, logged, read, downloaded, linked."""
