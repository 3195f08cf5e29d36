"""A deployment's verbs as tools for language models, by Model Context Protocol: `fovea mcp`."""
