"""The database: models, queries, engine, migrations."""
