"""The web page: projects, runs and charts for people."""
