"""Automations and the integrations that they act through."""
