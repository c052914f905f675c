"""Where identities come from: providers, directories, keys that people hold."""
