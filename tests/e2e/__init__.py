"""Charter as it is used: a started instance, its real API, its command line, real sandboxes."""
