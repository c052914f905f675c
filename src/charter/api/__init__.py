"""The versioned REST API: a thin face over the services, for people, agents and programs."""
