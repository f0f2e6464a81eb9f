"""What the features service takes from outside at its start: a calendar file, plugin files."""
