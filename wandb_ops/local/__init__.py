"""An embedded server that speaks W&B's protocol, for trying things out, for tests and for offline work.

It shares no code with the client of this package, so that each is a judge of the other.
Start it with ``wandb_ops.local.serve.LocalServer`` or with ``wandb-ops local``.
"""

from __future__ import annotations
