"""Sweeps: their configs, trials and agents."""
