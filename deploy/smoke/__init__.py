"""One command that tries a whole deployment on this machine, and records what it saw."""
