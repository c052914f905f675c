"""Where identities come from: providers, keys that people hold."""
