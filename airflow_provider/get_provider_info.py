"""What Airflow reads about this provider, through the entry point `apache_airflow_provider`.

A plain dict in Airflow's own vocabulary, and no import of Airflow: every Airflow process loads this module at
its start, also those that never touch W&B.
"""

from __future__ import annotations

from typing import Any

INTEGRATION = "Weights & Biases"
DOCS = "https://docs.wandb.ai"


def _modules(*names: str) -> list[dict[str, Any]]:
    return [
        {"integration-name": INTEGRATION, "python-modules": [f"airflow_provider.{name}" for name in names]}
    ]


def get_provider_info() -> dict[str, Any]:
    """The provider's description; keys as in Airflow's `provider_info.schema.json`."""
    return {
        "package-name": "wandb-ops",
        "name": INTEGRATION,
        "description": (
            "Create and wait for W&B runs, sync TensorBoard logs, launch jobs, make sweeps, log and promote "
            "artifacts, export exact histories and whole projects, and take snapshots."
        ),
        "integrations": [{"integration-name": INTEGRATION, "external-doc-url": DOCS, "tags": ["service"]}],
        "hooks": _modules("hooks.wandb"),
        "operators": _modules(
            "operators.runs",
            "operators.tensorboard",
            "operators.launch",
            "operators.enqueue",
            "operators.export",
            "operators.project",
            "operators.artifacts",
            "operators.sweeps",
            "operators.snapshot",
        ),
        "sensors": _modules("sensors.run", "sensors.queue", "sensors.artifact", "sensors.sweep"),
        "triggers": _modules("triggers.run", "triggers.queue", "triggers.artifact", "triggers.sweep"),
        "extra-links": [
            "airflow_provider.links.run.WandbRunLink",
            "airflow_provider.links.run.WandbQueueLink",
            "airflow_provider.links.run.WandbProjectLink",
            "airflow_provider.links.run.WandbArtifactLink",
            "airflow_provider.links.run.WandbSweepLink",
        ],
        "asset-uris": [
            {
                "schemes": ["wandb"],
                "handler": "airflow_provider.lineage.sanitize_uri",
                "factory": "airflow_provider.lineage.create_asset",
                "to_openlineage_converter": "airflow_provider.lineage.to_openlineage",
            }
        ],
        "connection-types": [
            {
                "connection-type": "wandb",
                "hook-class-name": "airflow_provider.hooks.wandb.WandbHook",
                "hook-name": INTEGRATION,
                "ui-field-behaviour": {
                    "hidden-fields": ["login", "schema", "port"],
                    "relabeling": {"password": "API key", "host": "Server"},
                    "placeholders": {
                        "host": "empty for W&B's public cloud, or your server's address",
                        "password": "from the user settings page of W&B",
                    },
                },
                "conn-fields": {
                    "entity": {
                        "label": "Entity",
                        "description": "Team or user that runs belong to; empty means the account's default.",
                        "schema": {"type": ["string", "null"]},
                    },
                    "project": {
                        "label": "Project",
                        "description": "Project of tasks that name none.",
                        "schema": {"type": ["string", "null"]},
                    },
                    "timeout": {
                        "label": "Timeout",
                        "description": "Seconds that one call may take in all, retries included.",
                        "schema": {"type": ["number", "null"], "minimum": 1},
                    },
                    "allow_http": {
                        "label": "Allow http",
                        "description": "Send the key unencrypted to a server on a trusted network.",
                        "schema": {"type": "boolean", "default": False},
                    },
                },
            }
        ],
    }
