"""W&B Launch: queues, what waits in them, and jobs."""
