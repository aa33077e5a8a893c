"""Every GraphQL operation of wandb-ops, by subject: named, complete texts, with variables only."""
