"""A deployment's verbs as tools for language models, by the Model Context Protocol: `fovea mcp`."""
