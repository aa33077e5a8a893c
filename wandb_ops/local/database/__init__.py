"""The SQLite database: its tables, its one writer and its readers."""
