"""One command that tries a whole deployment on this machine, and writes down what it saw."""
