"""Who may ask and see what: accounts, users, teams, organisations, keys, and the admin API."""
