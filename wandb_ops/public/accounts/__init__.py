"""Users, teams, organisations and their registries."""
