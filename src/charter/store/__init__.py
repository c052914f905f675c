"""PostgreSQL: tables, one unit of work, migrations, the embedded server."""
